//! The configuration: one struct a section of `config.example.toml`, which lists every key.
//!
//! A `Config` comes from [`Config::load`] (defaults, then the file, then the environment; what comes later wins) and is judged by
//! [`Config::validate`]. Every complaint is one line that begins with the key. No value of these types shows a
//! secret when it is printed or serialised. After the start nobody reads the environment again.

mod choices;
mod findings;
mod hosts;
mod key_digest;
mod load;
mod names;
mod relations;
mod secret;
mod sections;
mod units;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use self::choices::{OutcomeEvent, Scope, TlsMode};
pub use self::findings::{Finding, Level};
pub use self::key_digest::KeyDigest;
pub use self::names::check_name;
pub use self::secret::read_secret_file;
pub use self::sections::{
    ApiKey, Archive, CallbackTokens, Callbacks, Endpoint, Evolink, Forward, Internal, Public,
    Quarantine, Reconcile, Retention, StoreConfig, Submits, Tls,
};
pub use self::units::ByteSize;
pub use crate::domain::network::Network;

/// Everything that can be configured. The default is what `config.example.toml` shows.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub public: Public,
    pub internal: Internal,
    pub evolink: Evolink,
    pub submits: Submits,
    pub store: StoreConfig,
    pub callback_tokens: CallbackTokens,
    pub callbacks: Callbacks,
    pub reconcile: Reconcile,
    pub quarantine: Quarantine,
    pub archive: Archive,
    pub forward: Forward,
    pub retention: Retention,
}

/// What is wrong with the configuration, as one line: `key: message`. The process ends with exit code 78.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The key as in the file, dotted (`public.tls.mode`), or the file's own path if it cannot be read.
    pub key: String,
    pub message: String,
}

impl ConfigError {
    pub fn new(key: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            message: message.into(),
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Keys and values come from outside: an odd one must not break the promise of one line.
        for text in [self.key.as_str(), ": ", self.message.as_str()] {
            for character in text.chars() {
                if character.is_control() {
                    write!(f, "{}", character.escape_default())?;
                } else {
                    write!(f, "{character}")?;
                }
            }
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}
