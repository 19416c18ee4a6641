//! The configured places of the files in a backup. Also finishes, at the next start, a restore that
//! was interrupted.

use std::path::Path;

use crate::config::Config;
use crate::exit::{CommandError, Exit};
use crate::store::backup;
use crate::store::backup::place::Places;
use crate::store::files::log_file;
use crate::store::locks::Locks;
use crate::store::mark;

/// Returns the places.
///
/// # Errors
/// If `store.url` is not one that SQLite understands.
pub fn of(config: &Config) -> Result<Places, CommandError> {
    let endpoints = config.forward.endpoints.iter();
    Ok(Places {
        database: backup::database_file(&config.store.url)?,
        key_ring: config.callback_tokens.key_file.clone(),
        forward_secret: config.forward.secret_file.clone(),
        endpoint_secrets: endpoints
            .map(|endpoint| (endpoint.name.clone(), endpoint.secret_file.clone()))
            .collect(),
    })
}

/// Fails if there is no SQLite store to work on, and says what to do about it. `file` is the
/// configuration file, if one was given.
///
/// # Errors
/// `Unavailable`.
pub fn must_have_store(config: &Config, file: Option<&Path>) -> Result<(), CommandError> {
    let places = of(config)?;
    let Some(database) = places.database.as_deref() else {
        return Ok(());
    };
    // What a restore or a loss of the file has left is judged with all the checks of a start.
    let is_something = [
        database.to_owned(),
        mark::file(database),
        log_file(database),
    ];
    if places.has_plan() || is_something.iter().any(|file| file.exists()) {
        return Ok(());
    }
    let message = format!(
        "store.url: there is no store at {}: {}",
        database.display(),
        advice(file, "start the service once, or correct store.url")
    );
    Err(CommandError::new(Exit::Unavailable, message))
}

/// Returns what to do about a file of the service that is missing: `otherwise`, or to name the
/// configuration if none was given, because the file was looked for at its default place.
pub fn advice(file: Option<&Path>, otherwise: &str) -> String {
    match file {
        Some(file) if !file.as_os_str().is_empty() => otherwise.to_owned(),
        _ => "no configuration was given; give --config FILE or set EVOLINK_RECEIVER_CONFIG"
            .to_owned(),
    }
}

/// Finishes a restore that was interrupted after its plan was written.
///
/// # Errors
/// 75 if a service runs, or a file cannot be renamed.
pub fn finish_restore(config: &Config) -> Result<(), CommandError> {
    let places = of(config)?;
    if !places.has_plan() {
        return Ok(());
    }
    let database = places.database.as_deref();
    let _locks = database
        .map(|database| Locks::take(database, database))
        .transpose()?;
    finish(&places).map(drop)
}

/// Does the remaining steps of a planned restore. Returns the files that were moved aside.
///
/// # Errors
/// 75 if a file cannot be renamed. The plan stays.
pub fn finish(places: &Places) -> Result<Vec<std::path::PathBuf>, CommandError> {
    places.finish().map_err(|error| {
        let message = format!(
            "a restore is planned and cannot be finished: {error}; the next start or restore tries again"
        );
        CommandError::new(Exit::TempFail, message)
    })
}
