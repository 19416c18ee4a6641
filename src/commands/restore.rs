//! `restore`: puts a backup into place, as a new epoch.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::backup::last_event;
use crate::app::backup_places::{self, finish, remove_staged};
use crate::cli::RestoreArgs;
use crate::clock::Clock;
use crate::commands::load_config;
use crate::config::Config;
use crate::domain::callback::KeyRing;
use crate::domain::event::id::Epoch;
use crate::exit::{CommandError, Exit};
use crate::files::folder_of;
use crate::observe::untrusted::Untrusted;
use crate::store::StoreError;
use crate::store::backup::manifest::{self, Engine, FORMAT, Manifest, Role, digest};
use crate::store::backup::place::{Places, Plan, aside, stage, staged};
use crate::store::backup::{self, copy};
use crate::store::engine::sqlite::locks::Locks;
use crate::store::engine::sqlite::mark;

/// Restores a backup, or only begins a new epoch.
///
/// # Errors
/// 64 if the folder does not exist, or files are in place and `--replace` is not given. 65 if the
/// backup is damaged. 75 if a service runs. 78 if the backup is of a newer version or does not fit
/// the configuration.
pub async fn restore(args: &RestoreArgs, out: &mut impl Write) -> Result<(), CommandError> {
    let config = load_config(args.config.config.as_deref())?;
    let Some(folder) = &args.path else {
        backup_places::must_have_store(&config, args.config.config.as_deref())?;
        return new_epoch(&config, out).await;
    };
    let manifest = read(folder)?;
    check(folder, &manifest, &config).await?;
    let places = backup_places::of(&config)?;
    let _lock = take(&config, &places).await?;
    // Finish an earlier, interrupted restore first, so that the files are in one consistent state.
    finish(&places)?;
    remove_staged(&places);
    let (roles, kept) = to_place(folder, &manifest, &places)?;
    let time = Clock::System.now().to_string().replace([':', '.'], "-");
    check_free(&roles, &places, args.replace, &time)?;
    let plan = Plan { time, roles };
    let put = put(folder, &manifest, &places, &config, plan).await;
    // A copy of the store that stays would take the space that callbacks need.
    let epoch = put.inspect_err(|_| remove_staged(&places))?;
    let moved = finish(&places)?;
    let report = Report {
        folder,
        manifest: &manifest,
        epoch,
        moved: &moved,
        kept: &kept,
    };
    report.write(out).context("could not print")?;
    Ok(())
}

async fn new_epoch(config: &Config, out: &mut impl Write) -> Result<(), CommandError> {
    let begun = backup::begin_epoch(&config.store.location()?).await;
    let epoch = begun.map_err(stop_first)?;
    writeln!(
        out,
        "the store begins the epoch {epoch}; ids of earlier events stay valid"
    )
    .context("could not print")?;
    Ok(())
}

fn read(folder: &Path) -> Result<Manifest, CommandError> {
    if matches!(folder.try_exists(), Ok(false)) {
        let message = format!("{}: there is no such folder", folder.display());
        return Err(CommandError::new(Exit::Usage, message));
    }
    let path = folder.join(manifest::NAME);
    let damaged = |reason: String| {
        let message = format!(
            "{} is not a backup, or is damaged: {reason}",
            folder.display()
        );
        CommandError::new(Exit::DataErr, message)
    };
    let bytes = match fs::metadata(&path) {
        Ok(found) if found.len() > manifest::BYTES_MAX => {
            return Err(damaged(format!("{} is too large", manifest::NAME)));
        }
        _ => fs::read(&path).map_err(|error| damaged(format!("{}: {error}", manifest::NAME)))?,
    };
    let manifest: Manifest = serde_json::from_slice(&bytes)
        .map_err(|error| damaged(format!("{}: {error}", manifest::NAME)))?;
    if manifest.format == 0 {
        return Err(damaged(format!(
            "{} has format 0, which no version writes",
            manifest::NAME
        )));
    }
    if manifest.format > FORMAT {
        let (format, version) = (manifest.format, Untrusted(&manifest.version));
        let message = format!(
            "the backup has format {format} of version {version}, which this program does not know"
        );
        return Err(CommandError::new(Exit::Config, message));
    }
    if !manifest.is_plausible() {
        return Err(damaged(format!("{} has impossible names", manifest::NAME)));
    }
    Ok(manifest)
}

/// Checks each file against the manifest, and whether the backup fits this configuration.
async fn check(folder: &Path, manifest: &Manifest, config: &Config) -> Result<(), CommandError> {
    let (of_backup, is_postgres) = (manifest.store.engine, config.store.is_postgres());
    if (of_backup == Engine::Postgres) != is_postgres {
        let message = "the backup is of another kind of store than store.url names";
        return Err(CommandError::new(Exit::Config, message));
    }
    for file in &manifest.files {
        let damaged = |reason: &str| {
            let message = format!(
                "the backup is damaged: {} {reason}",
                folder.join(&file.name).display()
            );
            CommandError::new(Exit::DataErr, message)
        };
        let (bytes, sha256) = digest(&folder.join(&file.name))
            .map_err(|error| damaged(&format!("cannot be read: {error}")))?;
        if (bytes, &sha256) != (file.bytes, &file.sha256) {
            return Err(damaged("is not what the manifest says"));
        }
        match file.role {
            Role::Database => copy::look_at_copy(&folder.join(&file.name))
                .await
                .map(drop)?,
            Role::KeyRing => {
                let ring = fs::read_to_string(folder.join(&file.name)).unwrap_or_default();
                KeyRing::parse(&ring).map_err(|error| damaged(&error.to_string()))?;
            }
            Role::ForwardSecret | Role::EndpointSecret(_) => {}
        }
    }
    let has = |role: Role| manifest.files.iter().any(|file| file.role == role);
    if !has(Role::KeyRing) || has(Role::Database) == is_postgres {
        let message = format!("the backup is damaged: {} misses a file", manifest::NAME);
        return Err(CommandError::new(Exit::DataErr, message));
    }
    Ok(())
}

/// Keeps a service from starting. Fails if one runs.
async fn take(config: &Config, places: &Places) -> Result<Option<Locks>, CommandError> {
    if let Some(database) = &places.database {
        fs::create_dir_all(folder_of(database))
            .with_context(|| format!("could not make the folder of {}", database.display()))?;
        return Locks::take(database, database)
            .map(Some)
            .map_err(stop_first);
    }
    match backup::connected(&config.store.location()?).await? {
        0 => Ok(None),
        connected => {
            let path = format!("the database ({connected} connections)");
            Err(stop_first(StoreError::InUse { path }))
        }
    }
}

/// Adds what to do if the store is in use.
fn stop_first(error: StoreError) -> CommandError {
    let is_in_use = matches!(error, StoreError::InUse { .. });
    let error = CommandError::from(error);
    if is_in_use {
        let message = format!("{}; stop the service first", error.message);
        return CommandError::new(error.exit, message);
    }
    error
}

/// Returns the roles of the files to put in place, which are those that differ from the existing
/// files. Also returns the endpoints whose existing secrets are kept: these are the operator's own
/// files, and may be newer.
fn to_place(
    folder: &Path,
    manifest: &Manifest,
    places: &Places,
) -> Result<(Vec<Role>, Vec<String>), CommandError> {
    let (mut roles, mut kept) = (Vec::new(), Vec::new());
    for file in &manifest.files {
        let Some(place) = places.of(&file.role) else {
            continue;
        };
        let is_there = place
            .try_exists()
            .with_context(|| format!("could not look at {}", place.display()))?;
        let is_same = is_there
            && file.role != Role::Database
            && fs::read(place).is_ok_and(|there| {
                fs::read(folder.join(&file.name)).is_ok_and(|ours| there == ours)
            });
        match &file.role {
            _ if is_same => {}
            Role::EndpointSecret(endpoint) if is_there => kept.push(endpoint.clone()),
            role => roles.push(role.clone()),
        }
    }
    Ok((roles, kept))
}

/// Fails if files are in place, unless they may be moved aside.
fn check_free(
    roles: &[Role],
    places: &Places,
    may_replace: bool,
    time: &str,
) -> Result<(), CommandError> {
    let mut old = Vec::new();
    for place in roles.iter().filter_map(|role| places.of(role)) {
        let is_database = places.database.as_deref() == Some(place);
        let is_something = fs::metadata(place).is_ok_and(|found| found.len() > 0);
        if is_something || (is_database && mark::file(place).exists()) {
            old.push(place.display().to_string());
        }
        if aside(place, time).exists() {
            let message = format!("{} exists", aside(place, time).display());
            return Err(CommandError::new(Exit::TempFail, message));
        }
    }
    if old.is_empty() || may_replace {
        return Ok(());
    }
    let old = old.join(", ");
    let message = format!("{old} would be replaced; give --replace to have it moved aside");
    Err(CommandError::new(Exit::Usage, message))
}

/// Stages all files and writes the plan. If the process is killed before the plan is written, no
/// file in place has changed; afterwards, the next start or restore completes the plan.
async fn put(
    folder: &Path,
    manifest: &Manifest,
    places: &Places,
    config: &Config,
    plan: Plan,
) -> Result<Epoch, CommandError> {
    let mut epoch = None;
    for role in &plan.roles {
        let file = manifest.files.iter().find(|file| file.role == *role);
        let (Some(file), Some(place)) = (file, places.of(role)) else {
            continue;
        };
        stage(&folder.join(&file.name), place)
            .with_context(|| format!("could not write {}", staged(place).display()))?;
        if *role == Role::Database {
            epoch = Some(backup::prepare(&staged(place), place).await?);
            fs::File::open(staged(place))
                .and_then(|staged| staged.sync_all())
                .context("could not sync the store")?;
        }
    }
    let epoch = match epoch {
        Some(epoch) => epoch,
        // Begin the epoch before placing keys. Repeating this after a kill does no harm.
        None => backup::begin_epoch(&config.store.location()?).await?,
    };
    places
        .plan(&plan)
        .context("could not write the plan of the restore")?;
    Ok(epoch)
}

struct Report<'a> {
    folder: &'a Path,
    manifest: &'a Manifest,
    epoch: Epoch,
    moved: &'a [PathBuf],
    kept: &'a [String],
}

impl Report<'_> {
    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let (folder, store) = (self.folder.display(), &self.manifest.store);
        writeln!(
            out,
            "restored {folder}, made at {}: newest event {}; the store begins the epoch {}",
            self.manifest.made_at,
            last_event(store),
            self.epoch
        )?;
        for moved in self.moved {
            writeln!(out, "moved aside: {}", moved.display())?;
        }
        for endpoint in self.kept {
            writeln!(
                out,
                "kept the secret of the endpoint {endpoint} that is in place"
            )?;
        }
        writeln!(
            out,
            "start the service now. Outcomes that came after the backup come back by callbacks and polls. Readers of the \
            log that had read further get 410 cursor_expired, and miss nothing if they go on from its resume_after."
        )
    }
}
