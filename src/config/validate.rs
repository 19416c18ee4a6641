//! Checks of a whole configuration.

use super::findings::{Finding, Found, Level};
use super::{Config, ConfigError, relations};

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
        found.into_findings()
    }
}
