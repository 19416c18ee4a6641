//! Options for a test's server.

use std::net::{IpAddr, Ipv4Addr};

use crate::support::net::certificates::Pem;

#[derive(Clone, Debug)]
pub struct Options {
    /// Whether a commit waits for the disk, as in production.
    pub is_durable: bool,
    pub listen: IpAddr,
    /// A command and its arguments that precede the server's own, such as `ip netns exec NAME`.
    pub launcher: Vec<String>,
    pub guard: Option<Guard>,
    /// More settings of the server, such as `max_connections=23`.
    pub settings: Vec<String>,
}

/// The secrets of a guarded server. Over TCP it refuses clients without TLS and a password.
#[derive(Clone, Debug)]
pub struct Guard {
    pub password: String,
    pub certificate: Pem,
}

impl Options {
    pub fn quick() -> Self {
        Self {
            is_durable: false,
            listen: Ipv4Addr::LOCALHOST.into(),
            launcher: Vec::new(),
            guard: None,
            settings: Vec::new(),
        }
    }

    pub fn durable() -> Self {
        Self {
            is_durable: true,
            ..Self::quick()
        }
    }
}
