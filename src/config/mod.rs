//! The configuration: one struct for each section of `config.example.toml`, which lists every key.
//!
//! [`Config::load`] creates a `Config` from the defaults, then the file, then the environment; the
//! later source wins. [`Config::validate`] checks it. Every error is one line that begins with the
//! key. Printing or serialising these types never shows a secret.

mod choices;
mod closest;
mod findings;
mod hosts;
mod in_use;
mod key_digest;
mod lists;
mod load;
mod names;
mod places;
mod relations;
mod secret;
mod sections;
mod sources;
mod units;
mod unknown_variables;
mod validate;
mod variables;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use self::choices::{OutcomeEvent, PublicMode, Scope, TlsMode};
pub use self::findings::{Finding, Level};
pub use self::in_use::InUse;
pub use self::key_digest::KeyDigest;
pub use self::load::Fault;
pub use self::names::check_name;
pub use self::places::Places;
pub use self::secret::read_secret_file;
pub use self::sections::{
    ApiKey, Archive, CallbackTokens, Callbacks, Endpoint, Evolink, Forward, Internal, Log, Public,
    Quarantine, Reconcile, Retention, StoreConfig, Submits, Tls,
};
pub use self::units::ByteSize;
pub use self::units::duration::parse as parse_duration;
pub use self::unknown_variables::unknown_variables;
pub use crate::domain::egress::network::Network;

/// The whole configuration. The default is what `config.example.toml` shows.
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
    pub log: Log,
}

/// An error in the configuration, as one line: `key: message`. The process ends with exit code 78.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The dotted key as in the file (`public.tls.mode`), or the file's path if it cannot be read.
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
        // Keys and values come from outside. Escape control characters, so that the text stays on
        // one line.
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
