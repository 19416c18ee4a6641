//! The disk of the database. Either the real one, whose speed on a shared machine is unknown, or a
//! steady one, made of a RAM disk and a fixed delay for each sync. Goals are for the steady disk;
//! the figures of the real one are given for comparison.

use std::fmt;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use crate::numbers::milliseconds;

const RAM_DISK: &str = "/dev/shm";

/// The bytes that a probe appends before each sync: a page of the write-ahead log.
const PAGE_BYTES: usize = 4096;

const PROBES: usize = 300;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Disk {
    Real,
    /// Each sync takes this long.
    Steady(Duration),
}

impl Disk {
    /// About as fast as a good local disk.
    pub const FAST: Self = Self::Steady(Duration::from_micros(140));
    pub const MIDDLING: Self = Self::Steady(Duration::from_millis(1));
    /// About as fast as a disk in a cloud.
    pub const CLOUD: Self = Self::Steady(Duration::from_millis(4));

    /// Creates a folder on this disk. It is removed when dropped.
    pub fn folder(self) -> anyhow::Result<TempDir> {
        let parent = match self {
            Self::Real => Path::new(env!("CARGO_TARGET_TMPDIR")),
            Self::Steady(_) => Path::new(RAM_DISK),
        };
        let mut builder = tempfile::Builder::new();
        let folder = builder.prefix("evolink-receiver-bench-");
        folder
            .tempdir_in(parent)
            .with_context(|| format!("no folder in {}", parent.display()))
    }

    /// Makes `command` use this disk.
    pub fn apply_to(self, command: &mut Command) {
        if let Self::Steady(sync) = self {
            command
                .env("LD_PRELOAD", library())
                .env("FSYNC_US", sync.as_micros().to_string());
        }
    }

    /// Fails if the process does not use the delay. A statically linked program, or one that may
    /// not read the library, would otherwise have a disk on which syncs cost nothing.
    pub fn check_applied_to(self, pid: u32) -> anyhow::Result<()> {
        if let Self::Steady(_) = self {
            let maps = std::fs::read_to_string(format!("/proc/{pid}/maps"))?;
            ensure!(
                maps.contains("fsdelay.so"),
                "process {pid} does not see {self}"
            );
        }
        Ok(())
    }

    /// Measures how long a sync takes now: median and 99th percentile, in milliseconds.
    pub fn probe(self) -> anyhow::Result<(f64, f64)> {
        let folder = self.folder()?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("probe").arg(folder.path());
        self.apply_to(&mut command);
        let output = command.output()?;
        ensure!(output.status.success(), "the probe of {self} failed");
        Ok(serde_json::from_slice(&output.stdout)?)
    }
}

impl fmt::Display for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Real => f.write_str("real disk"),
            Self::Steady(sync) if sync.as_millis() == 0 => {
                write!(f, "steady {} µs", sync.as_micros())
            }
            Self::Steady(sync) => write!(f, "steady {} ms", sync.as_millis()),
        }
    }
}

fn library() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("fsdelay.so")
}

/// Compiles the library that makes a disk steady.
pub fn prepare() -> anyhow::Result<()> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/whole/fsdelay.c");
    let mut cc = Command::new("cc");
    cc.args(["-O2", "-Wall", "-shared", "-fPIC", "-o"]);
    let made = cc.arg(library()).arg(source).status();
    ensure!(
        made.context("needs a C compiler")?.success(),
        "cc could not compile fsdelay.c"
    );
    Ok(())
}

/// Appends and syncs. Runs in a process of its own, because the delay applies to a whole process.
pub fn run_probe(folder: &Path) -> anyhow::Result<(f64, f64)> {
    let mut options = OpenOptions::new();
    let path = folder.join("probe");
    let mut file = options.create(true).append(true).open(path)?;
    let mut times = Vec::with_capacity(PROBES);
    for _ in 0..PROBES {
        file.write_all(&[0; PAGE_BYTES])?;
        let start = Instant::now();
        file.sync_data()?;
        times.push(milliseconds(start.elapsed()));
    }
    times.sort_unstable_by(f64::total_cmp);
    Ok((times[PROBES / 2], times[PROBES * 99 / 100]))
}
