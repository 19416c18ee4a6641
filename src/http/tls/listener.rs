//! Which of the two listeners a certificate is for: the names of its files, and what it means for
//! clients that it is not valid.

use std::path::{Path, PathBuf};

/// The listener that a certificate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listener {
    Public,
    Internal,
}

impl Listener {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Internal => "internal",
        }
    }

    /// The files of a self-signed certificate and its key. Both listeners may have theirs in one
    /// folder.
    pub fn self_signed_files(self, dir: &Path) -> (PathBuf, PathBuf) {
        match self {
            Self::Public => (dir.join("self-signed.crt"), dir.join("self-signed.key")),
            Self::Internal => (
                dir.join("self-signed-internal.crt"),
                dir.join("self-signed-internal.key"),
            ),
        }
    }

    /// What happens while the certificate has expired, or is not valid yet.
    pub const fn consequence(self) -> &'static str {
        match self {
            Self::Public => "callbacks do not arrive, and outcomes are found by polling",
            Self::Internal => "apps that check it cannot connect",
        }
    }
}
