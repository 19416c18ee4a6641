//! A power cut without root: a library in C, preloaded into the receiver, that keeps apart what was synced.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::receiver::Place;
use crate::support::needs::{self, Root};

const SOURCE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/it/durability/powerloss.c"
);

/// Of every hundred writes, so many reach the disk before they are synced.
const EARLY_PERCENT: u32 = 30;

/// The library, compiled into `folder`. `None`, said in one line, where there is no C compiler.
fn library(folder: &Path) -> Option<PathBuf> {
    if !needs::are_met(Root::NotNeeded, &["cc"]) {
        return None;
    }
    let library = folder.join("powerloss.so");
    let mut cc = Command::new("cc");
    cc.args([
        "-Wall", "-Wextra", "-Werror", "-O1", "-shared", "-fPIC", "-o",
    ]);
    let compiled = cc.arg(&library).args([SOURCE, "-pthread"]).status();
    assert!(compiled.unwrap().success(), "{SOURCE} compiles");
    Some(library)
}

/// Has `place` start its receivers with that library. `database` is the file as they see it; without a `disk` nothing is
/// simulated but the lies.
fn preload(place: &mut Place, library: &Path, database: &Path, disk: Option<&Path>, sync: Sync) {
    let disk = disk.map_or_else(String::new, |disk| disk.display().to_string());
    place.launch_through(&[
        "env",
        &format!("LD_PRELOAD={}", library.display()),
        &format!("POWERLOSS_DATABASE={}", database.display()),
        &format!("POWERLOSS_DISK={disk}"),
        &format!("POWERLOSS_EARLY={EARLY_PERCENT}"),
        match sync {
            Sync::Done => "POWERLOSS_LIE=",
            Sync::ClaimedAtCommit => "POWERLOSS_LIE=commit",
            Sync::OnlyClaimed => "POWERLOSS_LIE=all",
        },
    ]);
}

/// On a real disk, with some syncs that are only claimed. Gives what must last as long as the place. `None`, said in one
/// line, where that cannot be done.
pub fn lie(place: &mut Place, database: &Path, sync: Sync) -> Option<TempDir> {
    let folder = tempfile::tempdir().unwrap();
    let library = library(folder.path())?;
    preload(place, &library, database, None, sync);
    Some(folder)
}

/// What is on the simulated disk.
pub struct Shadow {
    folder: TempDir,
    database: PathBuf,
}

/// Whether the simulated disk does what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    Done,
    /// As with `synchronous=NORMAL`: SQLite waits for its log only when it folds it in.
    ClaimedAtCommit,
    OnlyClaimed,
}

impl Shadow {
    /// A place whose receivers run on a simulated disk. `None`, said in one line, where there is no C compiler.
    pub fn with_place(sync: Sync) -> Option<(Self, Place)> {
        let folder = tempfile::tempdir().unwrap();
        let library = library(folder.path())?;
        let mut place = Place::new();
        let database = place.database();
        preload(&mut place, &library, &database, Some(folder.path()), sync);
        Some((Self { folder, database }, place))
    }

    /// Gives the killed receiver's files the content that they have on the disk.
    pub fn restore_power(&self) {
        for suffix in ["", "-wal"] {
            let mut file = self.database.clone().into_os_string();
            file.push(suffix);
            let on_disk = self.folder.path().join(format!("database{suffix}"));
            std::fs::copy(on_disk, &file).unwrap();
        }
        let _ = std::fs::remove_file(self.database.with_extension("db-shm"));
    }
}
