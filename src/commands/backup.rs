//! `backup`: copies a service's store, key ring and signing secrets consistently, whether or not
//! the service runs.

use std::fs;
use std::io::{self, IsTerminal as _, Write, stderr};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use indicatif::{DecimalBytes, ProgressBar, ProgressStyle};
use secrecy::ExposeSecret as _;
use tokio_util::sync::CancellationToken;

use crate::app::backup_places;
use crate::cli::BackupArgs;
use crate::clock::Clock;
use crate::commands::load_config;
use crate::commands::serve::stop_on_signal;
use crate::config::Config;
use crate::exit::{CommandError, Exit};
use crate::files;
use crate::secrets::{key_ring, signing_files};
use crate::store::StoreError;
use crate::store::backup::copy;
use crate::store::backup::draft::Draft;
use crate::store::backup::manifest::{
    BackedUp, Engine, FORMAT, Manifest, Role, Stored, digest_unless,
};

/// The largest file of secrets. No valid one is larger.
const SECRET_BYTES_MAX: u64 = 64 * 1024;

/// Makes the backup. `args.path` appears only when the backup is complete.
///
/// # Errors
/// 64 if the path exists, 65 if the store is damaged, 75 if it was stopped by a signal or does not
/// fit on its disk, 78 if the
/// schema is newer than this program or the database has several names.
pub async fn backup(args: &BackupArgs, out: &mut impl Write) -> Result<(), CommandError> {
    let config = load_config(args.config.config.as_deref())?;
    // Without a slash at the end: names are made from it.
    let path: PathBuf = args.path.components().collect();
    if path.symlink_metadata().is_ok() {
        let message = format!("{} exists, and a backup overwrites nothing", path.display());
        return Err(CommandError::new(Exit::Usage, message));
    }
    backup_places::must_have_store(&config, args.config.config.as_deref())?;
    let stop = stop_on_signal()?;
    let made = tokio::select! {
        made = make(&config, &path, &stop) => made,
        () = stop.cancelled() => Err(stopped()),
    };
    let manifest = made.map_err(|error| {
        if stop.is_cancelled() {
            stopped()
        } else {
            error
        }
    })?;
    report(&manifest, &path, out).context("could not print")?;
    Ok(())
}

fn stopped() -> CommandError {
    let message = "stopped by a signal before the backup was whole: nothing of it is left";
    CommandError::new(Exit::TempFail, message)
}

/// Nothing is left of it if it fails, or is dropped.
async fn make(
    config: &Config,
    path: &Path,
    stop: &CancellationToken,
) -> Result<Manifest, CommandError> {
    let making = || format!("could not make a folder beside {}", path.display());
    let draft = Draft::make(path).map_err(|error| unwritten(path, error, making()))?;
    let listed = |name: &str, role| listed(&draft.folder, name, role, stop);
    let store = copy_store(config, &draft.folder, path).await?;
    let mut files = Vec::new();
    if store.engine == Engine::Sqlite {
        files.push(listed("receiver.db", Role::Database)?);
    }
    // Copy the key ring after the store, so that it contains every key that the store refers to.
    for (role, name, from) in secrets(config)? {
        let text = read_secret(&from)?;
        let to = draft.folder.join(&name);
        let writing = || format!("could not write {}", to.display());
        files::write(&to, &text).map_err(|error| unwritten(path, error, writing()))?;
        files.push(listed(&name, role)?);
    }
    let manifest = Manifest {
        format: FORMAT,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        made_at: Clock::System.now(),
        store,
        files,
    };
    let writing = || format!("could not write {}", path.display());
    draft
        .finish(&manifest, path)
        .map_err(|error| unwritten(path, error, writing()))?;
    Ok(manifest)
}

/// The error of writing a file of the backup `path`.
fn unwritten(path: &Path, error: io::Error, doing: String) -> CommandError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => no_space(path),
        _ => anyhow::Error::new(error).context(doing).into(),
    }
}

/// The error where the backup `path` does not fit on its disk. Its unfinished folder is removed
/// when this is returned.
fn no_space(path: &Path) -> CommandError {
    let message = format!(
        "could not write the backup {}: its disk is full; nothing of it is left",
        path.display()
    );
    CommandError::new(Exit::TempFail, message)
}

/// Copies the store into the unfinished folder of the backup `path`.
async fn copy_store(config: &Config, folder: &Path, path: &Path) -> Result<Stored, CommandError> {
    let location = config.store.location()?;
    if config.store.is_postgres() {
        return Ok(copy::look_at_postgres(&location).await?);
    }
    let url = location.url.expose_secret();
    let bar = if stderr().is_terminal() {
        ProgressBar::new(0).with_style(
            ProgressStyle::with_template(
                "copying the store {wide_bar} {bytes}/{total_bytes}, {eta}",
            )
            .context("the progress bar has a wrong template")?,
        )
    } else {
        ProgressBar::hidden()
    };
    let report = |written, expected| {
        bar.set_length(u64::max(written, expected));
        bar.set_position(written);
    };
    let copied = copy::sqlite(url, &folder.join("receiver.db"), report).await;
    bar.finish_and_clear();
    copied.map_err(|error| match error {
        StoreError::Full => no_space(path),
        error => error.into(),
    })
}

/// Returns the service's files of secrets as role, name in the backup and path. Checks that each is
/// usable.
fn secrets(config: &Config) -> Result<Vec<(Role, String, PathBuf)>, CommandError> {
    let places = backup_places::of(config)?;
    key_ring::load(&places.key_ring)?;
    let mut secrets = vec![(
        Role::KeyRing,
        "callback_tokens.key".to_owned(),
        places.key_ring,
    )];
    // The first start creates this file. Where no app may name an address, a failure to do so is
    // ignored.
    if places.forward_secret.exists() {
        signing_files::load("forward.secret_file", &places.forward_secret)?;
        let name = "forward.whsec".to_owned();
        secrets.push((Role::ForwardSecret, name, places.forward_secret));
    }
    for (n, (endpoint, path)) in places.endpoint_secrets.into_iter().enumerate() {
        signing_files::load(&format!("forward.endpoints[{n}].secret_file"), &path)?;
        let name = format!("endpoint-{n}.whsec");
        secrets.push((Role::EndpointSecret(endpoint), name, path));
    }
    Ok(secrets)
}

fn read_secret(path: &Path) -> Result<Vec<u8>, CommandError> {
    let reading = || format!("could not read {}", path.display());
    if fs::metadata(path).with_context(reading)?.len() > SECRET_BYTES_MAX {
        let message = format!("{} is too large for a file of secrets", path.display());
        return Err(CommandError::new(Exit::Config, message));
    }
    Ok(fs::read(path).with_context(reading)?)
}

fn listed(
    folder: &Path,
    name: &str,
    role: Role,
    stop: &CancellationToken,
) -> Result<BackedUp, CommandError> {
    let (bytes, sha256) = digest_unless(&folder.join(name), || stop.is_cancelled())
        .with_context(|| format!("could not read the copy of {name}"))?;
    Ok(BackedUp {
        name: name.to_owned(),
        role,
        bytes,
        sha256,
    })
}

fn report(manifest: &Manifest, path: &Path, out: &mut impl Write) -> io::Result<()> {
    let (store, path) = (&manifest.store, path.display());
    let bytes: u64 = manifest.files.iter().map(|file| file.bytes).sum();
    let newest = last_event(store);
    match store.engine {
        Engine::Sqlite => writeln!(
            out,
            "backed up to {path}: store, key ring and signing secrets, {}; {} tasks, newest event {newest}",
            DecimalBytes(bytes),
            store.newest_task
        )?,
        Engine::Postgres => writeln!(
            out,
            "backed up to {path}: key ring and signing secrets; not the database (newest event {newest}): \
            back that up with pg_dump or by its write-ahead log"
        )?,
    }
    writeln!(
        out,
        "it holds keys and prompts: keep it where nobody else can read it"
    )
}

/// Formats the id of a store's newest event, for people.
pub fn last_event(store: &Stored) -> String {
    match store.epoch {
        Some(epoch) => format!("{epoch}-{}", store.newest_event),
        None => store.newest_event.to_string(),
    }
}
