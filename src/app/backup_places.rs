//! The configured places of the files in a backup. At the next start, also finishes a restore that
//! was interrupted, or removes what it has staged.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use tracing::{info, warn};

use crate::config::Config;
use crate::exit::{CommandError, Exit};
use crate::files::folder_of;
use crate::store::backup;
use crate::store::backup::place::Places;
use crate::store::engine::sqlite::files::log_file;
use crate::store::engine::sqlite::locks::Locks;
use crate::store::engine::sqlite::mark;

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

/// Finishes a restore that was interrupted after its plan was written. Removes what one that was
/// interrupted before that has staged, because a copy of the store may fill the disk.
///
/// # Errors
/// 75 if a service runs, or a file cannot be renamed.
pub fn finish_restore(config: &Config) -> Result<(), CommandError> {
    let places = of(config)?;
    let Some(database) = &places.database else {
        // On PostgreSQL no lock tells whether a restore is running. What one has staged here are
        // small files, and the next one removes them.
        return finish(&places).map(drop);
    };
    if !places.has_plan() && !places.has_staged() {
        return Ok(());
    }
    fs::create_dir_all(folder_of(database))
        .with_context(|| format!("could not make the folder of {}", database.display()))?;
    let _locks = Locks::take(database, database)?;
    finish(&places)?;
    remove_staged(&places);
    Ok(())
}

/// Removes what a restore without a plan has staged. The store must be locked. If a file cannot be
/// removed, that is only logged: it takes space, and nothing reads it.
pub fn remove_staged(places: &Places) {
    match places.remove_staged() {
        Ok(true) => info!("removed the files of a restore that was not completed"),
        Ok(false) => {}
        Err(error) => {
            warn!(error = %error, "could not remove a file of a restore that was not completed: {error}");
        }
    }
}

/// Does the remaining steps of a planned restore. Returns the files that were moved aside.
///
/// # Errors
/// 75 if a file cannot be renamed. The plan stays.
pub fn finish(places: &Places) -> Result<Vec<PathBuf>, CommandError> {
    places.finish().map_err(|error| {
        let message = format!(
            "a restore is planned and cannot be finished: {error}; the next start or restore tries again"
        );
        CommandError::new(Exit::TempFail, message)
    })
}
