//! A power cut without root: a C library, preloaded into the receiver, that tracks which writes
//! were synced.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::support::machine::needs::{self, Root};
use crate::support::process::Place;

const SOURCE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/it/durability/disk/powerloss.c"
);

/// Percentage of writes that reach the disk before they are synced.
const EARLY_PERCENT: u32 = 30;

/// Compiles the library into `folder`. `None`, after printing one line, where there is no C
/// compiler.
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

/// Makes `place` start its receivers with that library. `database` is the file as the receivers see
/// it. Without a `disk`, only the false syncs are simulated.
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

/// Uses a real disk on which some syncs only claim success. Returns the folder that must live as
/// long as the place. `None`, after printing one line, where that is not possible.
pub fn lie(place: &mut Place, database: &Path, sync: Sync) -> Option<TempDir> {
    let folder = tempfile::tempdir().unwrap();
    let library = library(folder.path())?;
    preload(place, &library, database, None, sync);
    Some(folder)
}

/// The content of the simulated disk.
pub struct Shadow {
    folder: TempDir,
    database: PathBuf,
}

/// Whether a sync of the simulated disk really happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    Done,
    /// As with `synchronous=NORMAL`: SQLite syncs its log only at a checkpoint.
    ClaimedAtCommit,
    OnlyClaimed,
}

impl Shadow {
    /// Creates a place whose receivers run on a simulated disk. `None`, after printing one line,
    /// where there is no C compiler.
    pub fn with_place(sync: Sync) -> Option<(Self, Place)> {
        let folder = tempfile::tempdir().unwrap();
        let library = library(folder.path())?;
        let mut place = Place::new();
        let database = place.database();
        preload(&mut place, &library, &database, Some(folder.path()), sync);
        Some((Self { folder, database }, place))
    }

    /// Replaces the killed receiver's files by their content on the simulated disk.
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
