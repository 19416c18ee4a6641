//! Opens the archive of result files, and checks at the start that it works.

use tracing::warn;

use super::settings;
use crate::archive::Fetches;
use crate::archive::fetch::Fetcher;
use crate::archive::storage::{Place, Storage, StorageError};
use crate::config::Config;
use crate::domain::egress::{AllowedHosts, ResultRules};
use crate::evolink::USER_AGENT;
use crate::exit::{CommandError, Exit};

/// The archive of this process.
#[derive(Clone, Debug)]
pub struct Archive {
    pub storage: Storage,
    pub fetcher: Fetcher,
    pub fetches: Fetches,
}

/// Opens the archive. `None` if it is disabled.
///
/// # Errors
/// If the storage cannot be reached or written to.
pub async fn open(config: &Config) -> Result<Option<Archive>, CommandError> {
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
    let failed = |error: StorageError| CommandError::new(exit, format!("archive.url: {error}"));
    let storage = Storage::open(&place).await.map_err(failed)?;
    match storage.check().await {
        Ok(()) => {}
        // Callbacks can still be recorded.
        Err(error @ StorageError::Full) => {
            warn!(error = %error, "no results are archived until there is space: {error}");
        }
        Err(error) => return Err(failed(error)),
    }
    let rules = ResultRules {
        allowed_hosts: AllowedHosts::new(&archive.allowed_hosts),
        allow_networks: archive.allow_networks.clone().into(),
    };
    let bounds = settings::fetch_bounds(archive);
    Ok(Some(Archive {
        storage,
        fetcher: Fetcher::new(rules, bounds, USER_AGENT, &[])?,
        fetches: Fetches::default(),
    }))
}
