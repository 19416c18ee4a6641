//! PostgreSQL: a private cluster for each trial, as durable as in production and gone afterwards, and one transaction for
//! each callback against batches on it.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use sqlx::{ConnectOptions as _, PgConnection};
use tempfile::TempDir;
use tokio::time::sleep;

use crate::Bench;
use crate::disk::Disk;
use crate::figures::Bound::{AtLeast, Beside};
use crate::figures::Findings;
use crate::servers::PATIENCE;
use crate::targets::Target::{CommitsEachOnPostgres, ReceiverOnPostgres};
use crate::trial::Case;

/// Where Debian has it.
const PROGRAMS: &str = "/usr/lib/postgresql/15/bin";

/// Whom it runs as if we are root, which it refuses to be.
const USER: &str = "postgres";

pub struct Cluster {
    postmaster: Child,
    port: u16,
    _folder: TempDir,
}

impl Cluster {
    pub async fn start(disk: Disk, port: u16) -> anyhow::Result<Self> {
        let folder = disk.folder()?;
        if is_root()? {
            run(Command::new("chown").arg(USER).arg(folder.path()))?;
        }
        let data = folder.path().join("data");
        let mut initdb = program("initdb")?;
        initdb.args([
            "-A",
            "trust",
            "-U",
            USER,
            "-E",
            "UTF8",
            "--locale=C.UTF-8",
            "-N",
            "-D",
        ]);
        run(initdb.arg(&data))?;
        let mut postgres = program("postgres")?;
        postgres.arg("-D").arg(&data);
        postgres.arg("-k").arg(folder.path());
        postgres.args(["-h", "127.0.0.1", "-p", &port.to_string(), "-c", "fsync=on"]);
        postgres.args(["-c", "synchronous_commit=on", "-c", "max_connections=200"]);
        disk.apply_to(&mut postgres);
        let log = std::fs::File::create(folder.path().join("log"))?;
        postgres
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        let mut cluster = Self {
            postmaster: postgres.spawn()?,
            port,
            _folder: folder,
        };
        cluster.wait_until_ready().await?;
        disk.check_applied_to(cluster.postmaster.id())?;
        Ok(cluster)
    }

    pub fn url(&self) -> String {
        format!("postgres://{USER}@127.0.0.1:{}/postgres", self.port)
    }

    async fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let started = Instant::now();
        while connect(&self.url()).await.is_err() {
            if let Some(status) = self.postmaster.try_wait()? {
                bail!("PostgreSQL ended with {status}");
            }
            ensure!(started.elapsed() < PATIENCE, "PostgreSQL does not start");
            sleep(std::time::Duration::from_millis(20)).await;
        }
        Ok(())
    }
}

impl Drop for Cluster {
    /// SIGINT is its fast shutdown: sessions are ended, nothing is left in the system.
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.postmaster), Signal::INT);
        let _ = self.postmaster.wait();
    }
}

pub async fn connect(url: &str) -> anyhow::Result<PgConnection> {
    let options: sqlx::postgres::PgConnectOptions = url.parse()?;
    Ok(options.connect().await?)
}

/// One transaction for many callbacks against one for each.
pub async fn postgres(bench: &Bench) -> anyhow::Result<Findings> {
    let mut found = Findings::default();
    if let Some(reason) = missing() {
        found.note(format!("postgres: skipped, {reason}"));
        return Ok(found);
    }
    let (fast, real) = (Disk::FAST, Disk::Real);
    let rounds = bench
        .alternate(vec![
            Case::new("PostgreSQL, B", CommitsEachOnPostgres, fast, 256),
            Case::new("PostgreSQL, receiver", ReceiverOnPostgres, fast, 256),
            Case::new("PostgreSQL, B, 64", CommitsEachOnPostgres, fast, 64),
            Case::new("PostgreSQL, receiver, 64", ReceiverOnPostgres, fast, 64),
            Case::new("PostgreSQL, B, real", CommitsEachOnPostgres, real, 256),
            Case::new("PostgreSQL, receiver, real", ReceiverOnPostgres, real, 256),
        ])
        .await?;
    found = Findings::of(&rounds);
    let mut ratio = |what: &str, bound, one, other| {
        found.goal(what, bound, "", rounds.ratio(one, other));
    };
    ratio(
        "PostgreSQL, batched : one transaction for each callback, 256 connections",
        AtLeast(4.0),
        "PostgreSQL, receiver",
        "PostgreSQL, B",
    );
    ratio(
        "the same, 64 connections",
        Beside,
        "PostgreSQL, receiver, 64",
        "PostgreSQL, B, 64",
    );
    ratio(
        "the same, 256 connections, real disk",
        Beside,
        "PostgreSQL, receiver, real",
        "PostgreSQL, B, real",
    );
    found.note("On PostgreSQL, CPU and memory are those of the program under test, without the database's.");
    Ok(found)
}

/// The schema, if this version of the program has one for it.
pub fn migrations() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations/postgres")
}

fn missing() -> Option<String> {
    if !Path::new(PROGRAMS).join("postgres").exists() {
        return Some(format!("needs PostgreSQL in {PROGRAMS}"));
    }
    let has_schema = migrations().exists();
    (!has_schema).then(|| "this version of the receiver has no PostgreSQL".to_owned())
}

fn program(name: &str) -> anyhow::Result<Command> {
    let path = Path::new(PROGRAMS).join(name);
    if !is_root()? {
        return Ok(Command::new(path));
    }
    let mut command = Command::new("setpriv");
    let (user, group) = (format!("--reuid={USER}"), format!("--regid={USER}"));
    command
        .args([&user, &group, "--init-groups", "--"])
        .arg(path);
    Ok(command)
}

fn is_root() -> anyhow::Result<bool> {
    Ok(std::fs::metadata("/proc/self")?.uid() == 0)
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let output = command.stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("{command:?}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {said}");
    Ok(())
}
