//! What kind of server a test wants.

use std::net::{IpAddr, Ipv4Addr};

use crate::support::certificates::Pem;

#[derive(Clone, Debug)]
pub struct Options {
    /// Whether a commit waits for the disk, as it does in earnest.
    pub is_durable: bool,
    pub listen: IpAddr,
    /// Command and arguments before the server's own, such as `ip netns exec NAME`.
    pub launcher: Vec<String>,
    pub guard: Option<Guard>,
    /// More settings of the server, such as `max_connections=23`.
    pub settings: Vec<String>,
}

/// What a guarded server wants to see, and shows: over TCP it lets nobody in without TLS and a password.
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
