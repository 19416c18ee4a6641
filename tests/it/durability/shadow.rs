//! A power cut without root: a library in C, preloaded into the receiver, that keeps apart what was synced.

use std::path::PathBuf;
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

/// What is on the simulated disk.
pub struct Shadow {
    folder: TempDir,
    database: PathBuf,
}

/// Whether the simulated disk does what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    Done,
    OnlyClaimed,
}

impl Shadow {
    /// A place whose receivers run on a simulated disk. `None`, said in one line, where there is no C compiler.
    pub fn with_place(sync: Sync) -> Option<(Self, Place)> {
        if !needs::are_met(Root::NotNeeded, &["cc"]) {
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let library = folder.path().join("powerloss.so");
        let mut cc = Command::new("cc");
        cc.args([
            "-Wall", "-Wextra", "-Werror", "-O1", "-shared", "-fPIC", "-o",
        ]);
        let compiled = cc.arg(&library).args([SOURCE, "-pthread"]).status();
        assert!(compiled.unwrap().success(), "{SOURCE} compiles");
        let mut place = Place::new();
        let database = place.database();
        place.launch_through(&[
            "env",
            &format!("LD_PRELOAD={}", library.display()),
            &format!("POWERLOSS_DATABASE={}", database.display()),
            &format!("POWERLOSS_DISK={}", folder.path().display()),
            &format!("POWERLOSS_EARLY={EARLY_PERCENT}"),
            match sync {
                Sync::Done => "POWERLOSS_LIE=",
                Sync::OnlyClaimed => "POWERLOSS_LIE=1",
            },
        ]);
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
