//! The commands, one file for each family. A command gets its arguments, prints its result, and
//! decides how the process ends.

pub mod api;
pub mod backup;
pub mod check;
pub mod client;
pub mod demo;
pub mod keys;
pub mod operate;
pub mod restore;
pub mod serve;
mod stream;
pub mod table;

use std::path::Path;

use crate::config::Config;
use crate::exit::CommandError;

/// Loads the configuration from file and environment, and checks the relations between keys.
///
/// # Errors
/// The first error found, with exit code 78.
pub fn load_config(path: Option<&Path>) -> Result<Config, CommandError> {
    let config = Config::load(path, environment())?;
    config.validate()?;
    Ok(config)
}

/// Returns the process's environment, without variables that are not Unicode. Ours all are.
pub fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}
