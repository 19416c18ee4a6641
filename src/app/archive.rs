//! Opens the archive of result files, and checks at the start that it works.

use anyhow::Context as _;
use tracing::warn;

use super::settings;
use crate::archive::Fetches;
use crate::archive::fetch::Fetcher;
use crate::archive::storage::{MARKER, Storage, StorageError};
use crate::background::Background;
use crate::config::Config;
use crate::domain::result_file::{FileId, Place};
use crate::evolink::USER_AGENT;
use crate::exit::{CommandError, Exit};
use crate::store::Store;

/// The archive of this process.
#[derive(Clone, Debug)]
pub struct Archive {
    pub storage: Storage,
    pub fetcher: Fetcher,
    pub fetches: Fetches,
    pub background: Background,
}

/// Opens the archive of `store`. `None` if it is disabled.
///
/// # Errors
/// If the storage cannot be reached or written to, or if it is not the one of this store.
pub async fn open(config: &Config, store: &Store) -> Result<Option<Archive>, CommandError> {
    let archive = &config.archive;
    if !archive.enabled {
        return Ok(None);
    }
    let place: Place = archive
        .url
        .parse()
        .map_err(|error| CommandError::new(Exit::Config, format!("archive.url: {error}")))?;
    let exit = match place {
        Place::Folder(_) => Exit::Config,
        // It may be reachable later.
        Place::Bucket { .. } => Exit::Unavailable,
    };
    let url = &archive.url;
    let failed = failed(exit, url);
    let storage = Storage::open(&place, archive.min_free.as_u64())
        .await
        .map_err(failed)?;
    match storage.check().await {
        Ok(()) => identify(&storage, store, &archive.url).await?,
        // Callbacks can still be recorded.
        Err(error @ StorageError::Full) => {
            warn!(error = %error, "no results are archived until there is space: {error}");
        }
        Err(error) => return Err(failed(error)),
    }
    let rules = settings::result_rules(archive);
    let bounds = settings::fetch_bounds(archive);
    Ok(Some(Archive {
        storage,
        fetcher: Fetcher::new(rules, bounds, USER_AGENT, &[])?,
        fetches: Fetches::default(),
        background: Background::start().context("could not start the archive")?,
    }))
}

/// Checks that the storage is the archive of this store. Without the check, a volume that is not
/// mounted would look like an archive whose files are all lost, and two stores in one place would
/// delete each other's files.
async fn identify(storage: &Storage, store: &Store, url: &str) -> Result<(), CommandError> {
    let failed = failed(Exit::Unavailable, url);
    let wanted = store.log_state().await?.epochs.first().as_str().to_owned();
    let found = storage.identity().await.map_err(failed)?;
    let has_files = !store.list_archived_files(FileId(0), 1).await?.is_empty();
    match found {
        Some(found) if found == wanted => Ok(()),
        Some(found) => Err(CommandError::new(
            Exit::Config,
            format!(
                "archive.url: {url} has the archive of another store ({found}, not {wanted}): choose another place"
            ),
        )),
        None if has_files => Err(CommandError::new(
            Exit::Config,
            format!(
                "archive.url: {url} is not the archive that this store has files in: mount the right one; or, to go \
                 on without those files, write {wanted} into {MARKER} there"
            ),
        )),
        None => {
            // Another replica may have set it in the meantime.
            storage.set_identity(&wanted).await.map_err(failed)?;
            Ok(())
        }
    }
}

fn failed(exit: Exit, url: &str) -> impl Fn(StorageError) -> CommandError + Copy {
    move |error| CommandError::new(exit, format!("archive.url: {url}: {error}"))
}
