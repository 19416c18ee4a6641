//! Where a store is, and what is needed to get there.

use std::path::PathBuf;

use secrecy::SecretString;

/// The default of `store.max_connections`: one connection writes, one listens, eight read.
pub const MAX_CONNECTIONS: u32 = 10;

/// A database, as the configuration names it.
#[derive(Clone, Debug)]
pub struct Location {
    /// May hold a password.
    pub url: SecretString,
    /// The file with the password for a PostgreSQL server. It is read for each new connection,
    /// because the password may be rotated while we run.
    pub password_file: Option<PathBuf>,
    /// The limit of this process's connections to a PostgreSQL server.
    pub max_connections: u32,
}

impl From<&str> for Location {
    fn from(url: &str) -> Self {
        Self {
            url: url.into(),
            password_file: None,
            max_connections: MAX_CONNECTIONS,
        }
    }
}

impl From<&String> for Location {
    fn from(url: &String) -> Self {
        url.as_str().into()
    }
}
