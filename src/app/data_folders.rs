//! The folders in which the start makes files, and whether the system lets this process do so. The
//! start and `check` report a folder of another user once, however many files are to be made there.

use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use crate::config::{Config, TlsMode};
use crate::domain::result_file::Place;
use crate::exit::{CommandError, Exit};
use crate::http::tls::{Listener, TlsSource};
use crate::process;
use crate::store::backup;

/// A folder in which this process may not make files.
#[derive(Debug)]
pub struct Denied {
    /// The first configuration key whose file is to be made there.
    pub key: &'static str,
    pub folder: PathBuf,
    /// The folder, the cause, and what to do.
    pub message: String,
}

/// Returns each folder in which the start needs to make a file and may not.
pub fn denied(config: &Config) -> Vec<Denied> {
    let mut denied: Vec<Denied> = Vec::new();
    for (key, file) in made_by_start(config) {
        let folder = nearest_folder(&file);
        // A file in place of the folder is reported with the file that is to be made below it.
        let is_known = denied.iter().any(|known| known.folder == folder);
        if is_known || !folder.is_dir() {
            continue;
        }
        if let Some(reason) = process::why_denied(&folder) {
            let message = format!("{}: {reason}", folder.display());
            denied.push(Denied {
                key,
                folder,
                message,
            });
        }
    }
    denied
}

/// # Errors
/// 78 with all folders in which the start may not make its files.
pub fn check(config: &Config) -> Result<(), CommandError> {
    let denied = denied(config).into_iter();
    let messages = denied.map(|denied| format!("{}: {}", denied.key, denied.message));
    let messages: Vec<String> = messages.collect();
    if messages.is_empty() {
        return Ok(());
    }
    Err(CommandError::of_all(Exit::Config, messages))
}

/// Returns the files that the start makes. A database always needs new files beside it; the other
/// files are made only if they are absent.
fn made_by_start(config: &Config) -> Vec<(&'static str, PathBuf)> {
    let mut secrets = vec![(
        "callback_tokens.key_file",
        config.callback_tokens.key_file.clone(),
    )];
    if !config.forward.allowed_hosts.is_empty() {
        secrets.push(("forward.secret_file", config.forward.secret_file.clone()));
    }
    if config.public.tls.mode == TlsMode::SelfSigned {
        let (cert, _) = TlsSource::self_signed_files(&config.public.tls.self_signed_dir);
        secrets.push(("public.tls.self_signed_dir", cert));
    }
    if config.internal.tls.mode == TlsMode::SelfSigned {
        let dir = &config.internal.tls.self_signed_dir;
        let (cert, _) = Listener::Internal.self_signed_files(dir);
        secrets.push(("internal.tls.self_signed_dir", cert));
    }
    secrets.retain(|(_, file)| access(file, Access::READ_OK).is_err());
    let database = backup::database_file(&config.store.url).ok().flatten();
    let database = database.map(|file| ("store.url", file));
    let results = match config.archive.url.parse() {
        Ok(Place::Folder(folder)) if config.archive.enabled => {
            Some(("archive.url", folder.join("file")))
        }
        _ => None,
    };
    database.into_iter().chain(secrets).chain(results).collect()
}

/// Returns the nearest folder above `file` that exists. The start creates those below it.
pub fn nearest_folder(file: &Path) -> PathBuf {
    let mut folders = file.ancestors().skip(1);
    let there = folders.find(|folder| folder.as_os_str().is_empty() || folder.exists());
    match there {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}
