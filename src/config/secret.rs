//! Secrets that are kept in files of their own.

use std::path::Path;

use secrecy::{ExposeSecret as _, SecretString};
use serde::{Serialize, Serializer};
use url::Url;

use super::{ConfigError, Evolink, StoreConfig, hosts};
use crate::evolink::KEY_BYTES_MIN;
use crate::secret_file;
use crate::store::Location;

/// The environment variable from which other tools for EvoLink read the key, too.
pub(super) const EVOLINK_API_KEY: &str = "EVOLINK_API_KEY";

pub(super) const API_KEY_MISSING: &str =
    "missing: set it, or evolink.api_key, or the environment variable EVOLINK_API_KEY";

/// Reads the secret from the file that `key` names.
///
/// # Errors
/// Unreadable, too long, not UTF-8, empty, or not what a secret looks like. Names the key and the
/// file, never the content.
pub fn read_secret_file(key: &str, path: &Path) -> Result<SecretString, ConfigError> {
    let secret = read_any(key, path)?;
    match secret_file::oddity(secret.expose_secret()) {
        Some(oddity) => Err(odd_file(key, path, oddity)),
        None => Ok(secret),
    }
}

/// Like `read_secret_file`, for passwords, which may look like anything.
fn read_any(key: &str, path: &Path) -> Result<SecretString, ConfigError> {
    secret_file::read(path).map_err(|error| ConfigError::new(key, error.to_string()))
}

fn odd_file(key: &str, path: &Path, oddity: &str) -> ConfigError {
    ConfigError::new(key, format!("{} {oddity}", secret_file::shown_path(path)))
}

/// Serialises whether there is a secret, not the secret.
#[expect(clippy::ref_option, reason = "serde passes a reference to the field")]
pub(super) fn redacted<S: Serializer>(
    secret: &Option<SecretString>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    secret.as_ref().map(|_| "[redacted]").serialize(serializer)
}

impl Evolink {
    /// Names where EvoLink's API key comes from: a key of the configuration, or the environment
    /// variable.
    pub const fn key_source(&self) -> &'static str {
        match self.api_key {
            Some(_) if self.is_key_of_environment => EVOLINK_API_KEY,
            Some(_) => "evolink.api_key",
            None => "evolink.api_key_file",
        }
    }

    /// Reads EvoLink's API key from the file or the value.
    ///
    /// # Errors
    /// Names the key, and the file if there is one.
    pub fn read_api_key(&self) -> Result<SecretString, ConfigError> {
        let (key, secret) = match (&self.api_key, &self.api_key_file) {
            (Some(api_key), _) => {
                if let Some(oddity) = secret_file::oddity(api_key.expose_secret()) {
                    return Err(ConfigError::new(self.key_source(), oddity));
                }
                (self.key_source(), api_key.clone())
            }
            (None, Some(path)) => {
                let key = self.key_source();
                (key, read_secret_file(key, path)?)
            }
            (None, None) => {
                return Err(ConfigError::new(self.key_source(), API_KEY_MISSING));
            }
        };
        let is_sendable = |byte: u8| byte.is_ascii_graphic();
        if !secret.expose_secret().bytes().all(is_sendable) {
            let message = "holds a blank, a line break or another character that no API key has";
            return Err(ConfigError::new(key, message));
        }
        if secret.expose_secret().len() < KEY_BYTES_MIN && !hosts::is_loopback(&self.base_url) {
            let message = format!(
                "has fewer than {KEY_BYTES_MIN} characters, too few for a key: it is redacted wherever \
                 EvoLink repeats it, and so short a text may be a part of any word"
            );
            return Err(ConfigError::new(key, message));
        }
        Ok(secret)
    }
}

const PASSWORD_FILE: &str = "store.password_file";

impl StoreConfig {
    pub fn is_postgres(&self) -> bool {
        ["postgres:", "postgresql:"]
            .iter()
            .any(|scheme| self.url.starts_with(scheme))
    }

    /// Returns where the store is. Each connection reads a password file again. It is read here
    /// only so that a start without it is refused.
    ///
    /// # Errors
    /// Names the key, and the file if there is one.
    pub fn location(&self) -> Result<Location, ConfigError> {
        if let Some(path) = &self.password_file {
            read_any(PASSWORD_FILE, path)?;
            let url = Url::parse(&self.url)
                .map_err(|error| ConfigError::new("store.url", error.to_string()))?;
            if url.username().is_empty() && !has_parameter(&url, "user") {
                let message = "store.url has no user whose password it could be";
                return Err(ConfigError::new(PASSWORD_FILE, message));
            }
        }
        Ok(Location {
            url: self.url.clone().into(),
            password_file: self.password_file.clone(),
            max_connections: self.max_connections,
        })
    }

    /// Returns what is odd about the password of the database. It may be meant, so it is no error.
    pub fn password_oddity(&self) -> Option<ConfigError> {
        let path = self.password_file.as_deref()?;
        let password = read_any(PASSWORD_FILE, path).ok()?;
        let password = password.expose_secret();
        let has_blanks = password.trim() != password;
        let blanks = has_blanks.then_some("begins or ends with a blank, which is a part of it");
        let oddity = secret_file::oddity(password).or(blanks)?;
        Some(odd_file(PASSWORD_FILE, path, oddity))
    }
}

fn has_parameter(url: &Url, name: &str) -> bool {
    url.query_pairs().any(|(key, _)| key == name)
}
