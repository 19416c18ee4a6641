//! The commands, one file for each family. A command gets its arguments, prints its result, and
//! decides how the process ends.

pub mod api;
pub mod backup;
pub mod check;
pub mod client;
pub mod completions;
pub mod demo;
pub mod init;
pub mod keys;
pub mod listen;
pub mod operate;
pub mod output;
pub mod restore;
pub mod serve;
pub mod service;
mod stream;
pub mod table;

use std::path::Path;

use crate::config::{Config, ConfigError, Internal};

/// Loads the configuration from file and environment.
///
/// # Errors
/// The first error found.
pub fn load_config(path: Option<&Path>) -> Result<Config, ConfigError> {
    Config::load(path, environment()?.into_iter())
}

/// Reads the section about the internal listener. Errors in other sections do not matter: the
/// service runs with the values that it has read before.
///
/// # Errors
/// The file cannot be read, or this section is wrong.
pub fn load_internal(path: Option<&Path>) -> Result<Internal, ConfigError> {
    let (config, faults) = Config::load_all(path, environment()?.into_iter());
    let mut faults = faults.into_iter().map(|fault| fault.error);
    let Some(config) = config else {
        let error = faults.next();
        return Err(error.unwrap_or_else(|| ConfigError::new("configuration", "cannot be read")));
    };
    match faults.find(|error| error.key.starts_with("internal")) {
        Some(error) => Err(error),
        None => Ok(config.internal),
    }
}

/// Returns the process's environment, without variables of others that are not UTF-8.
///
/// # Errors
/// Names a variable of ours that is not.
pub fn environment() -> Result<Vec<(String, String)>, ConfigError> {
    let mut variables = Vec::new();
    for (name, value) in std::env::vars_os() {
        match (name.into_string(), value.into_string()) {
            (Ok(name), Ok(value)) => variables.push((name, value)),
            (name, _) => {
                let name = name.unwrap_or_else(|name| name.to_string_lossy().into_owned());
                if name.starts_with("EVOLINK_RECEIVER") || name == "EVOLINK_API_KEY" {
                    return Err(ConfigError::new(name, "is not UTF-8"));
                }
            }
        }
    }
    Ok(variables)
}
