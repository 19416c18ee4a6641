//! The results of checking a configuration: errors, which prevent the start, and warnings.

use std::fmt;
use std::time::Duration;

use super::units::duration;
use super::{Config, ConfigError, relations};

/// The severity of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Ok,
    Warning,
    /// The service does not start.
    Error,
}

/// One line in the output of `check`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub level: Level,
    /// The configuration key, or the component that was checked.
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
        // `ConfigError` keeps text from outside on one line.
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

    /// Checks one key only, for commands that need nothing else of the configuration.
    ///
    /// # Errors
    /// The first error about that key.
    pub fn validate_key(&self, key: &str) -> Result<(), ConfigError> {
        let mut findings = self.findings().into_iter();
        match findings.find(|finding| finding.level == Level::Error && finding.key == key) {
            Some(error) => Err(ConfigError::new(error.key, error.message)),
            None => Ok(()),
        }
    }

    /// Returns all warnings and errors, in the order of the sections.
    pub fn findings(&self) -> Vec<Finding> {
        let mut found = Found::default();
        relations::check(&mut found, self);
        found.0
    }
}

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

    /// Adds an error unless the key has one, whose consequence this one may be.
    pub(super) fn first_error_unless(
        &mut self,
        holds: bool,
        key: &str,
        message: impl Into<String>,
    ) {
        self.error_unless(holds || self.has_error(key), key, message);
    }

    pub(super) fn has_error(&self, key: &str) -> bool {
        let mut findings = self.0.iter();
        findings.any(|finding| finding.level == Level::Error && finding.key == key)
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
