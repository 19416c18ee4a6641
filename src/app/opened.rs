//! What a start opens besides the store and the listeners: secrets, the certificate, and the client
//! of EvoLink.

use std::sync::Arc;

use super::certificates::Certificates;
use super::{backup_places, data_folders, evolink_client};
use crate::config::{Config, TlsMode};
use crate::evolink::EvolinkClient;
use crate::exit::CommandError;
use crate::secrets::key_ring;
use crate::secrets::signing_files::SigningFiles;

/// What a start has opened before the store.
pub struct Opened {
    pub signing_files: Arc<SigningFiles>,
    pub certificates: Certificates,
    pub evolink: EvolinkClient,
}

/// # Errors
/// All faults at once, each with its own line, as `check` shows them.
pub fn open(config: &Config) -> Result<Opened, CommandError> {
    // Nothing else can be judged while these files cannot be made.
    data_folders::check(config)?;
    backup_places::finish_restore(config)?;
    let mut faults = Vec::new();
    let ring = key_ring::load_if_there(&config.callback_tokens.key_file);
    keep(&mut faults, ring);
    keep(&mut faults, key_ring::check_database_is_there(config));
    let evolink = keep(&mut faults, evolink_client(config));
    // A start that is refused makes no files.
    let may_make = faults.is_empty();
    let signing_files = (may_make || config.forward.secret_file.exists())
        .then(|| keep(&mut faults, SigningFiles::open(&config.forward)))
        .flatten();
    let modes = [config.public.tls.mode, config.internal.tls.mode];
    let certificates = (may_make || !modes.contains(&TlsMode::SelfSigned))
        .then(|| keep(&mut faults, Certificates::open(config)))
        .flatten();
    let is_whole = faults.is_empty();
    let (Some(signing_files), Some(certificates), Some(evolink), true) =
        (signing_files, certificates, evolink, is_whole)
    else {
        return Err(CommandError::of_several(faults));
    };
    Ok(Opened {
        signing_files: signing_files.into(),
        certificates,
        evolink,
    })
}

fn keep<T>(
    faults: &mut Vec<CommandError>,
    opened: Result<T, impl Into<CommandError>>,
) -> Option<T> {
    opened.map_err(|error| faults.push(error.into())).ok()
}
