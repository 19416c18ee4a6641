//! What there is to say about a configuration: errors, which stop the start, and warnings.

use std::fmt;
use std::time::Duration;

use super::units::duration;
use super::{Config, ConfigError, relations};

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

impl Finding {
    pub fn ok(key: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            level: Level::Ok,
            key: key.into(),
            message: message.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Ok => "ok     ",
            Level::Warning => "warning",
            Level::Error => "error  ",
        };
        // ConfigError knows how to keep foreign text on one line.
        let line = ConfigError::new(self.key.as_str(), self.message.as_str());
        write!(f, "{level} {line}")
    }
}

impl Config {
    pub fn validate(&self) -> Result<(), ConfigError> {
        let mut findings = self.findings().into_iter();
        match findings.find(|finding| finding.level == Level::Error) {
            Some(error) => Err(ConfigError::new(error.key, error.message)),
            None => Ok(()),
        }
    }

    /// For a command that needs no more of the configuration than one key.
    ///
    /// # Errors
    /// What is wrong with that key.
    pub fn validate_key(&self, key: &str) -> Result<(), ConfigError> {
        let mut findings = self.findings().into_iter();
        match findings.find(|finding| finding.level == Level::Error && finding.key == key) {
            Some(error) => Err(ConfigError::new(error.key, error.message)),
            None => Ok(()),
        }
    }

    /// Every warning and every error, in the order of the sections.
    pub fn findings(&self) -> Vec<Finding> {
        let mut found = Found::default();
        relations::check(&mut found, self);
        found.0
    }
}

/// Collects findings.
#[derive(Default)]
pub(super) struct Found(Vec<Finding>);

impl Found {
    pub(super) fn add(&mut self, level: Level, key: impl Into<String>, message: impl Into<String>) {
        let (key, message) = (key.into(), message.into());
        self.0.push(Finding {
            level,
            key,
            message,
        });
    }

    pub(super) fn error_unless(
        &mut self,
        holds: bool,
        key: impl Into<String>,
        message: impl Into<String>,
    ) {
        if !holds {
            self.add(Level::Error, key, message);
        }
    }

    pub(super) fn warn_if(
        &mut self,
        odd: bool,
        key: impl Into<String>,
        message: impl Into<String>,
    ) {
        if odd {
            self.add(Level::Warning, key, message);
        }
    }

    pub(super) fn within(&mut self, key: &str, value: Duration, least: Duration, most: Duration) {
        let (least_text, most_text) = (duration::text(least), duration::text(most));
        let message = format!(
            "must be from {least_text} to {most_text}, is {}",
            duration::text(value)
        );
        self.error_unless((least..=most).contains(&value), key, message);
    }
}
