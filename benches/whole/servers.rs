//! Starts each program under test as a child process in its own folder, and stops it by its process
//! id.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use evolink_receiver::domain::callback::{KeyRing, Subject};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::time::sleep;

use crate::callback::Script;
use crate::cluster::Cluster;
use crate::connection::Endpoint;
use crate::cpus;
use crate::database;
use crate::disk::Disk;
use crate::targets::{Settings, Start, Target};

/// Far longer than any start or stop takes.
pub const PATIENCE: Duration = Duration::from_mins(2);

const POLL: Duration = Duration::from_millis(2);

/// The file name that `targets` configures.
const KEY_RING: &str = "callback_tokens.key";

/// The folder and database of a server, which outlive its process.
#[derive(Clone)]
pub struct Place {
    pub target: Target,
    disk: Disk,
    folder: Arc<TempDir>,
    /// The database server, if the place is on PostgreSQL.
    cluster: Option<Arc<Cluster>>,
    /// The number of the last task that the store had before.
    pub last_seq: i64,
    pub settings: Settings,
}

pub struct Server {
    child: Child,
    place: Place,
    callbacks: Endpoint,
    /// The receiver's internal listener.
    internal: Option<Endpoint>,
    token: String,
    /// The time from the start of the process to the first request that it accepts.
    pub ready_after: Duration,
}

impl Place {
    pub async fn new(target: Target, disk: Disk) -> anyhow::Result<Self> {
        let mut cluster = None;
        if target.is_on_postgres() {
            let port = free_address()?.port();
            cluster = Some(Arc::new(database::start(disk, port).await?));
        }
        Ok(Self {
            cluster,
            ..Self::in_folder(target, disk, Arc::new(disk.folder()?), 0)
        })
    }

    /// Uses a folder that has a store already. Syncs take as long as on `disk`, whatever the folder
    /// is on.
    pub fn in_folder(target: Target, disk: Disk, folder: Arc<TempDir>, last_seq: i64) -> Self {
        Self {
            target,
            disk,
            folder,
            cluster: None,
            last_seq,
            settings: Settings::default(),
        }
    }

    /// Creates a place for another process on the same store, with the same callback tokens.
    pub fn of_twin(&self) -> anyhow::Result<Self> {
        let folder = Arc::new(self.disk.folder()?);
        std::fs::copy(self.path().join(KEY_RING), folder.path().join(KEY_RING))?;
        Ok(Self {
            folder,
            ..self.clone()
        })
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn database(&self) -> PathBuf {
        self.path().join("receiver.db")
    }

    pub fn store_url(&self) -> String {
        match &self.cluster {
            Some(cluster) => cluster.url("postgres"),
            None => format!("sqlite:{}", self.database().display()),
        }
    }

    /// Starts the server and waits until it is ready.
    pub async fn start(self, server_cpus: Option<&str>) -> anyhow::Result<Server> {
        let (public, internal) = (free_address()?, free_address()?);
        let log = self.path().join("log");
        let open = || File::options().create(true).append(true).open(&log);
        let mut command = self.target.command(&Start {
            folder: self.path(),
            public,
            internal,
            store: &self.store_url(),
            settings: &self.settings,
        })?;
        self.disk.apply_to(&mut command);
        let mut command = cpus::bind(command, server_cpus);
        command.stdin(Stdio::null());
        let started = Instant::now();
        let child = command.stdout(open()?).stderr(open()?).spawn();
        let target = self.target;
        let mut server = Server {
            child: child.with_context(|| format!("cannot start {target}"))?,
            place: self,
            callbacks: Endpoint::plain(public),
            internal: target.is_receiver().then(|| Endpoint::plain(internal)),
            token: "bench.~load.none".to_owned(),
            ready_after: Duration::ZERO,
        };
        server.wait_until_ready(started).await?;
        server.place.disk.check_applied_to(server.pid())?;
        let folder = server.place.path();
        if target.speaks_tls() {
            let pem = std::fs::read_to_string(folder.join("self-signed.crt"))?;
            server.callbacks = Endpoint::tls(public, &pem)?;
        }
        if target.is_receiver() {
            let ring = std::fs::read_to_string(folder.join(KEY_RING))?;
            server.token = KeyRing::parse(&ring)?.mint(&Subject::Standing("load".parse()?));
        }
        Ok(server)
    }
}

impl Server {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub const fn place(&self) -> &Place {
        &self.place
    }

    pub const fn callbacks(&self) -> &Endpoint {
        &self.callbacks
    }

    pub fn internal(&self) -> anyhow::Result<&Endpoint> {
        self.internal.as_ref().context("has no internal listener")
    }

    pub fn callback_path(&self) -> String {
        self.place.target.callback_path(&self.token)
    }

    /// Returns a path whose token has the right form and key, but a wrong MAC.
    pub fn wrong_path(&self) -> String {
        let mut token = self.token.clone();
        let last = token.pop();
        token.push(if last == Some('A') { 'Q' } else { 'A' });
        self.place.target.callback_path(&token)
    }

    pub fn new_tasks(&self) -> Script {
        let script = Script::new_tasks(&self.callback_path());
        script.answered_with(self.place.target.says_recorded())
    }

    async fn wait_until_ready(&mut self, started: Instant) -> anyhow::Result<()> {
        while !self.is_ready().await {
            if let Some(status) = self.child.try_wait()? {
                bail!("ended with {status}: {}", self.log_tail());
            }
            if started.elapsed() > PATIENCE {
                bail!("does not become ready: {}", self.log_tail());
            }
            sleep(POLL).await;
        }
        self.ready_after = started.elapsed();
        Ok(())
    }

    async fn is_ready(&self) -> bool {
        match &self.internal {
            Some(internal) => matches!(internal.get("/readyz").await, Ok((200, _))),
            None => self.callbacks.connect().await.is_ok(),
        }
    }

    /// Sends SIGTERM. Returns the place when the process has ended.
    pub async fn stop(mut self) -> anyhow::Result<Place> {
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        let asked = Instant::now();
        while self.child.try_wait()?.is_none() {
            if asked.elapsed() > PATIENCE {
                bail!("does not end: {}", self.log_tail());
            }
            sleep(POLL).await;
        }
        Ok(self.place.clone())
    }

    fn log_tail(&self) -> String {
        let log = std::fs::read_to_string(self.place.path().join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(10)..].join("\n")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_address() -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?)
}
