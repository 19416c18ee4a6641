//! Why somebody is not called, for the operator and for the app that asked for it.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use super::address::Class;

/// Not called, and nothing was sent. Shows host, port and address: never the path or the query of a URL, which may be secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// A name, or a host with its port. Empty if there is none.
    pub target: String,
    pub reason: Reason,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// What the text of the URL does: `has no host`.
    Malformed(&'static str),
    NothingListed,
    NotListed,
    Address {
        address: IpAddr,
        class: Class,
    },
    /// A listener of this process.
    Ours {
        address: IpAddr,
        port: u16,
    },
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let target = &self.target;
        match self.reason {
            Reason::Malformed(what) => write!(f, "the URL {what}"),
            Reason::NothingListed => write!(
                f,
                "no host is allowed here, as the receiver's forward.allowed_hosts is empty"
            ),
            Reason::NotListed => write!(
                f,
                "{target} is not allowed: the receiver's forward.allowed_hosts does not list it"
            ),
            Reason::Address { address, class } => {
                write!(f, "{target} is at {address}, {class}, {}", remedy(class))
            }
            Reason::Ours { address, port } => write!(
                f,
                "{target} is at {}, where this receiver itself listens",
                SocketAddr::new(address, port)
            ),
        }
    }
}

impl std::error::Error for Refused {}

/// What would have to be changed.
fn remedy(class: Class) -> &'static str {
    match class {
        Class::Never(_) => "which is never called",
        Class::Loopback => {
            "which only localhost, or that address itself in the URL and in forward.allowed_hosts, may be"
        }
        Class::Private => {
            "which only a name that looks internal may be, unless forward.allow_networks has its network"
        }
        Class::Public | Class::Reserved => "whose network forward.allow_networks does not have",
    }
}
