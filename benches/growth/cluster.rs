//! A PostgreSQL server of our own, as durable as in production, gone afterwards.

use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};
use tempfile::TempDir;
use tokio::time::sleep;

/// Where Debian has it.
const PROGRAMS: &str = "/usr/lib/postgresql/15/bin";

/// Whom it runs as if we are root, which it refuses to be.
const USER: &str = "postgres";

const PATIENCE: Duration = Duration::from_mins(1);

pub struct Cluster {
    postmaster: Child,
    port: u16,
    _folder: TempDir,
}

impl Cluster {
    pub async fn start(within: &Path) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir_in(within)?;
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
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
            .local_addr()?
            .port();
        let mut postgres = program("postgres")?;
        postgres.arg("-D").arg(&data).arg("-k").arg(folder.path());
        postgres.args(["-h", "127.0.0.1", "-p", &port.to_string()]);
        postgres.stdin(Stdio::null()).stdout(Stdio::null());
        postgres.stderr(std::fs::File::create(folder.path().join("log"))?);
        let mut cluster = Self {
            postmaster: postgres.spawn()?,
            port,
            _folder: folder,
        };
        let begun = Instant::now();
        while PgConnection::connect(&cluster.url("postgres"))
            .await
            .is_err()
        {
            if let Some(status) = cluster.postmaster.try_wait()? {
                bail!("PostgreSQL ended with {status}");
            }
            ensure!(begun.elapsed() < PATIENCE, "PostgreSQL does not start");
            sleep(Duration::from_millis(20)).await;
        }
        Ok(cluster)
    }

    /// An empty one; one of that name that is there is dropped.
    pub async fn make_database(&self, name: &str) -> anyhow::Result<String> {
        let mut connection = PgConnection::connect(&self.url("postgres")).await?;
        let drop = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
        connection.execute(AssertSqlSafe(drop)).await?;
        let make = format!("CREATE DATABASE {name}");
        connection.execute(AssertSqlSafe(make)).await?;
        connection.close().await?;
        Ok(self.url(name))
    }

    fn url(&self, database: &str) -> String {
        format!("postgres://{USER}@127.0.0.1:{}/{database}", self.port)
    }
}

impl Drop for Cluster {
    /// SIGINT is its fast shutdown: sessions are ended, nothing is left in the system.
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.postmaster), Signal::INT);
        let _ = self.postmaster.wait();
    }
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
    command.current_dir("/");
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
