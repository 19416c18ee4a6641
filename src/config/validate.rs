//! The relations that must hold between keys, and what is odd though allowed. Pure: no file is opened here.

use super::{Config, ConfigError};

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Ok,
    Warning,
    /// The service does not start.
    Error,
}

/// One line of `check`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub level: Level,
    /// The configuration key, or the part that was looked at.
    pub key: String,
    pub message: String,
}

impl Config {
    /// # Errors
    /// The first relation that does not hold.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let mut findings = self.findings().into_iter();
        match findings.find(|finding| finding.level == Level::Error) {
            Some(error) => Err(ConfigError::new(error.key, error.message)),
            None => Ok(()),
        }
    }

    /// Every warning and every error, in the order of the sections.
    #[must_use]
    pub fn findings(&self) -> Vec<Finding> {
        Vec::new()
    }
}
