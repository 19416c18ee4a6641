//! Why a request is refused, for the operator and for the app.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use super::address::Class;

/// A request that was not made. Nothing was sent. Shows the host, port and address, but never the
/// path or query of a URL, which may be secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// A name, or a host with its port. Empty if there is none.
    pub target: String,
    pub reason: Reason,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Describes the text of the URL, for example `has no host`.
    Malformed(&'static str),
    NothingListed,
    NotListed,
    Address {
        address: IpAddr,
        class: Class,
    },
    /// An address that this process listens on.
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

/// Says what would have to be changed.
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
