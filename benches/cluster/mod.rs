//! A PostgreSQL server for benches, as durable as in production, and removed afterwards. Every
//! bench that needs one uses this.

use std::net::Ipv4Addr;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use sqlx::{Connection as _, PgConnection};
use tempfile::TempDir;
use tokio::time::sleep;

/// The folder of PostgreSQL's programs on Debian.
pub const PROGRAMS: &str = "/usr/lib/postgresql/15/bin";

/// The user that the server runs as if we are root, because it refuses to run as root.
const USER: &str = "postgres";

const PATIENCE: Duration = Duration::from_mins(1);

pub struct Cluster {
    pub postmaster: Child,
    port: u16,
    _folder: TempDir,
}

impl Cluster {
    /// Starts a server in `folder`, which is removed with it. `prepare` may add arguments to its
    /// command.
    pub async fn start(
        folder: TempDir,
        port: u16,
        prepare: impl FnOnce(&mut Command),
    ) -> anyhow::Result<Self> {
        let data = initdb(folder.path())?;
        let mut postgres = program("postgres")?;
        postgres.arg("-D").arg(&data).arg("-k").arg(folder.path());
        let host = Ipv4Addr::LOCALHOST.to_string();
        postgres.args(["-h", &host, "-p", &port.to_string()]);
        postgres.args(["-c", "fsync=on", "-c", "synchronous_commit=on"]);
        postgres.stdin(Stdio::null()).stdout(Stdio::null());
        postgres.stderr(std::fs::File::create(folder.path().join("log"))?);
        prepare(&mut postgres);
        let mut cluster = Self {
            postmaster: postgres.spawn()?,
            port,
            _folder: folder,
        };
        cluster.wait_until_ready().await?;
        Ok(cluster)
    }

    pub fn url(&self, database: &str) -> String {
        format!("postgres://{USER}@127.0.0.1:{}/{database}", self.port)
    }

    async fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let began = Instant::now();
        let url = self.url("postgres");
        while PgConnection::connect(&url).await.is_err() {
            if let Some(status) = self.postmaster.try_wait()? {
                bail!("PostgreSQL ended with {status}");
            }
            ensure!(began.elapsed() < PATIENCE, "PostgreSQL does not start");
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }
}

impl Drop for Cluster {
    /// Sends SIGINT, which ends all sessions at once and leaves nothing behind in the system.
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.postmaster), Signal::INT);
        let _ = self.postmaster.wait();
    }
}

fn initdb(folder: &Path) -> anyhow::Result<std::path::PathBuf> {
    if is_root()? {
        run(Command::new("chown").arg(USER).arg(folder))?;
    }
    let data = folder.join("data");
    let mut initdb = program("initdb")?;
    initdb.args(["-A", "trust", "-U", USER, "-E", "UTF8"]);
    initdb.args(["--locale=C.UTF-8", "-N", "-D"]).arg(&data);
    run(&mut initdb)?;
    Ok(data)
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
