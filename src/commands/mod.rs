//! One file a command family. A command gets its arguments, prints its result, and says how the process ends.

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

/// The configuration that a command runs with, from file and environment, with relations checked.
///
/// # Errors
/// The first complaint, exit code 78.
pub fn load_config(path: Option<&Path>) -> Result<Config, CommandError> {
    let config = Config::load(path, environment())?;
    config.validate()?;
    Ok(config)
}

/// The process's environment. A variable that is not Unicode is none of ours.
pub fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}
