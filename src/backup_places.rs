//! The configured places of the files in a backup. Also finishes, at the next start, a restore that
//! was interrupted.

use crate::config::Config;
use crate::exit::{CommandError, Exit};
use crate::store::backup;
use crate::store::backup::place::Places;
use crate::store::locks::Locks;

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
