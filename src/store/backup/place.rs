//! Moves the files of a backup into their places: all of them or none, even if the process is
//! killed.
//!
//! First, each file is written beside its place (`….restoring`). Then the plan, one small file, is
//! written, and from then on the restore counts as done. `finish` makes the renames that remain,
//! and so does the next start. What was in a place before is renamed to `….before-TIME`, never
//! deleted.
//!
//! A restore that fails before its plan is written removes its staged files. After a kill, the next
//! start or restore removes them.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::manifest::Role;
use crate::files::{self, beside, folder_of, sync_folder};
use crate::store::engine::sqlite::mark;

/// The path of each file of this service.
#[derive(Debug, Clone)]
pub struct Places {
    /// `None` on PostgreSQL.
    pub database: Option<PathBuf>,
    pub key_ring: PathBuf,
    pub forward_secret: PathBuf,
    /// Each path, with the name of its endpoint.
    pub endpoint_secrets: Vec<(String, PathBuf)>,
}

/// The files that a restore is about to move into place.
#[derive(Debug, Serialize, Deserialize)]
pub struct Plan {
    /// Part of the new names of the files that were there before.
    pub time: String,
    pub roles: Vec<Role>,
}

/// The size limit of a plan. It has a line for each endpoint.
const BYTES_MAX: u64 = 4 * 1024 * 1024;

impl Places {
    /// Returns the path for `role`, or `None` if this service has no such file.
    pub fn of(&self, role: &Role) -> Option<&Path> {
        match role {
            Role::Database => self.database.as_deref(),
            Role::KeyRing => Some(&self.key_ring),
            Role::ForwardSecret => Some(&self.forward_secret),
            Role::EndpointSecret(name) => {
                let mut secrets = self.endpoint_secrets.iter();
                secrets
                    .find(|(of, _)| of == name)
                    .map(|(_, path)| path.as_path())
            }
        }
    }

    fn plan_file(&self) -> PathBuf {
        beside(
            self.database.as_deref().unwrap_or(&self.key_ring),
            ".restore",
        )
    }

    /// Returns whether a restore was planned and not finished.
    pub fn has_plan(&self) -> bool {
        self.plan_file().exists()
    }

    /// Writes the plan. The files of its roles must be staged and synced.
    pub fn plan(&self, plan: &Plan) -> io::Result<()> {
        let text = serde_json::to_vec(plan)?;
        files::replace(&self.plan_file(), files::PRIVATE, |file| {
            file.write_all(&text)
        })
    }

    /// Finishes a plan, if there is one. Returns the files that were moved aside. The store must
    /// not be in use.
    ///
    /// # Errors
    /// If a file cannot be renamed. The plan stays, and this may be called again.
    pub fn finish(&self) -> io::Result<Vec<PathBuf>> {
        let file = self.plan_file();
        let plan: Plan = match fs::metadata(&file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Ok(found) if found.len() > BYTES_MAX => return Err(io::ErrorKind::FileTooLarge.into()),
            _ => serde_json::from_slice(&fs::read(&file)?)?,
        };
        let mut moved = Vec::new();
        for role in &plan.roles {
            let place = self.of(role).ok_or_else(|| no_place(role))?;
            if *role == Role::Database {
                // SQLite must never see the log of one database beside another database.
                let companions = COMPANIONS.map(|suffix| beside(place, suffix));
                put(place, &companions, &plan.time, &mut moved)?;
                put(&mark::file(place), &[], &plan.time, &mut moved)?;
            } else {
                put(place, &[], &plan.time, &mut moved)?;
            }
        }
        fs::remove_file(&file)?;
        sync_folder(&folder_of(&file))?;
        Ok(moved)
    }

    /// Removes staged files, unless a restore has written its plan. No other restore may run.
    /// Returns whether anything was removed.
    ///
    /// # Errors
    /// If a file cannot be removed. The others are removed nevertheless.
    pub fn remove_staged(&self) -> io::Result<bool> {
        // On an error there may be a plan, and then the staged files are the only copy.
        if self.plan_file().try_exists()? {
            return Ok(false);
        }
        let mut removed = Ok(false);
        for file in self.staged_files() {
            match fs::remove_file(&file) {
                Ok(()) => removed = removed.map(|_| true),
                Err(error) if is_absent(&error) => {}
                Err(error) => removed = Err(error),
            }
        }
        removed
    }

    /// Returns whether there is a file that `remove_staged` may have to remove.
    pub fn has_staged(&self) -> bool {
        let mut files = self.staged_files().into_iter();
        files.any(|file| file.symlink_metadata().is_ok_and(|found| !found.is_dir()))
    }

    /// Lists every file that a restore creates before it writes its plan.
    fn staged_files(&self) -> Vec<PathBuf> {
        let mut files = vec![beside(&self.plan_file(), ".new")];
        if let Some(database) = &self.database {
            let copy = staged(database);
            files.extend(COMPANIONS.map(|suffix| beside(&copy, suffix)));
            let mark = staged(&mark::file(database));
            files.extend([beside(&mark, ".new"), mark, copy]);
        }
        let secrets = self.endpoint_secrets.iter().map(|(_, secret)| secret);
        let secrets = secrets.chain([&self.key_ring, &self.forward_secret]);
        files.extend(secrets.map(|secret| staged(secret)));
        files
    }
}

/// Returns whether there is no file to remove. A folder does not count: a restore creates none
/// here.
fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory
    )
}

/// Suffixes of the files that SQLite may keep beside a database.
const COMPANIONS: [&str; 3] = ["-wal", "-shm", "-journal"];

/// Returns the staged path of the file at `place`.
pub fn staged(place: &Path) -> PathBuf {
    beside(place, ".restoring")
}

/// Returns the path that the file at `place` gets when it is moved aside.
pub fn aside(place: &Path, time: &str) -> PathBuf {
    beside(place, &format!(".before-{time}"))
}

/// Renames the staged file to `place`, after moving aside the present file and its `companions`.
/// Does nothing if that was done before.
fn put(
    place: &Path,
    companions: &[PathBuf],
    time: &str,
    moved: &mut Vec<PathBuf>,
) -> io::Result<()> {
    let staged = staged(place);
    if !staged.try_exists()? {
        return Ok(());
    }
    for old in companions.iter().map(PathBuf::as_path).chain([place]) {
        let to = aside(old, time);
        match fs::rename(old, &to) {
            Ok(()) => moved.push(to),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    fs::rename(&staged, place)?;
    sync_folder(&folder_of(place))
}

/// Copies `from` to the staged path of `place`, creates its folder, and syncs both.
pub fn stage(from: &Path, place: &Path) -> io::Result<()> {
    fs::create_dir_all(folder_of(place))?;
    let staged = staged(place);
    // SQLite would apply a journal that a killed restore left to the new copy.
    for suffix in COMPANIONS {
        files::remove(&beside(&staged, suffix))?;
    }
    let mut file = files::create(&staged, files::PRIVATE)?;
    io::copy(&mut File::open(from)?, &mut file)?;
    file.sync_all()?;
    sync_folder(&folder_of(place))
}

fn no_place(role: &Role) -> io::Error {
    io::Error::other(format!("the configuration has no place for {role:?}"))
}
