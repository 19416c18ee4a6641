//! The programs under test, each started as a child process in a folder of its own, and ended by its own pid.

use std::fmt;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use evolink_receiver::domain::callback_token::{KeyRing, Subject};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use tokio::time::sleep;

use crate::callback::Script;
use crate::connection::Endpoint;
use crate::disk::Disk;

/// Far above what any start or stop takes.
const PATIENCE: Duration = Duration::from_mins(2);

const POLL: Duration = Duration::from_millis(2);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Target {
    /// A: takes callbacks in over HTTPS, parses them, stores nothing.
    StoresNothing,
    /// B: A, and a transaction for each callback.
    CommitsEach,
    /// The release build of the program.
    Receiver,
}

impl Target {
    /// Whether what it acknowledges must be in its database.
    pub const fn is_durable(self) -> bool {
        !matches!(self, Self::StoresNothing)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::StoresNothing => "A",
            Self::CommitsEach => "B",
            Self::Receiver => "receiver",
        })
    }
}

/// Where a server lives, and what is left of it afterwards.
pub struct Place {
    target: Target,
    disk: Disk,
    folder: TempDir,
}

pub struct Server {
    child: Child,
    place: Place,
    callbacks: Endpoint,
    /// The receiver's internal listener.
    internal: Option<Endpoint>,
    token: String,
    /// From the start of the process to the first request that it takes.
    pub ready_after: Duration,
}

impl Place {
    pub fn new(target: Target, disk: Disk) -> anyhow::Result<Self> {
        let folder = disk.folder()?;
        Ok(Self {
            target,
            disk,
            folder,
        })
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn database(&self) -> PathBuf {
        self.path().join("receiver.db")
    }

    fn command(&self, public: SocketAddr, internal: SocketAddr) -> anyhow::Result<Command> {
        let mut command = Command::new(std::env::current_exe()?);
        let store = format!("sqlite:{}", self.database().display());
        match self.target {
            Target::StoresNothing | Target::CommitsEach => {
                command.arg("baseline").arg(public.to_string());
                command.arg(self.path());
                if self.target == Target::CommitsEach {
                    command.args(["--store", &store]);
                }
            }
            Target::Receiver => {
                let config = self.path().join("config.toml");
                std::fs::write(&config, self.config(public, internal, &store))?;
                command = Command::new(env!("CARGO_BIN_EXE_evolink-receiver"));
                command.args(["serve", "--config"]).arg(config);
            }
        }
        self.disk.apply_to(&mut command);
        Ok(command)
    }

    /// All limits stand at their defaults but those on connections: all clients have one address here.
    fn config(&self, public: SocketAddr, internal: SocketAddr, store: &str) -> String {
        let folder = self.path().display();
        format!(
            r#"
[public]
listen = "{public}"
base_url = "https://localhost"
max_connections = 4096
max_connections_per_address = 4096
tls = {{ mode = "self-signed", self_signed_dir = "{folder}" }}
[internal]
listen = "{internal}"
[evolink]
base_url = "http://127.0.0.1:1"
api_key = "not-a-key"
[store]
url = "{store}"
[callback_tokens]
key_file = "{folder}/callback_tokens.key"
[reconcile]
first_poll_after = "1h"
"#
        )
    }

    /// Starts it and waits until it is ready.
    pub async fn start(self, server_cpus: Option<&str>) -> anyhow::Result<Server> {
        let (public, internal) = (free_address()?, free_address()?);
        let log = self.path().join("log");
        let open = || File::options().create(true).append(true).open(&log);
        let command = self.command(public, internal)?;
        let mut command = crate::cpus::bind(command, server_cpus);
        command.stdin(Stdio::null());
        let started = Instant::now();
        let child = command.stdout(open()?).stderr(open()?).spawn()?;
        let is_receiver = self.target == Target::Receiver;
        let mut server = Server {
            child,
            place: self,
            callbacks: Endpoint::plain(public),
            internal: is_receiver.then(|| Endpoint::plain(internal)),
            token: "bench.~load.none".to_owned(),
            ready_after: Duration::ZERO,
        };
        while !server.is_ready().await {
            if let Some(status) = server.child.try_wait()? {
                bail!("ended with {status}: {}", server.log_tail());
            }
            if started.elapsed() > PATIENCE {
                bail!("does not become ready: {}", server.log_tail());
            }
            sleep(POLL).await;
        }
        server.ready_after = started.elapsed();
        let folder = server.place.path();
        let pem = std::fs::read_to_string(folder.join("self-signed.crt"))?;
        server.callbacks = Endpoint::tls(public, &pem)?;
        if is_receiver {
            let ring = std::fs::read_to_string(folder.join("callback_tokens.key"))?;
            server.token = KeyRing::parse(&ring)?.mint(&Subject::Standing("load".parse()?));
        }
        Ok(server)
    }
}

impl Server {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub const fn callbacks(&self) -> &Endpoint {
        &self.callbacks
    }

    pub fn internal(&self) -> anyhow::Result<&Endpoint> {
        self.internal.as_ref().context("has no internal listener")
    }

    pub fn callback_path(&self) -> String {
        format!("/callbacks/{}", self.token)
    }

    /// A token of the right form and key whose mac is wrong.
    pub fn wrong_path(&self) -> String {
        let mut token = self.token.clone();
        let last = token.pop();
        token.push(if last == Some('A') { 'Q' } else { 'A' });
        format!("/callbacks/{token}")
    }

    pub fn new_tasks(&self) -> Script {
        Script::new_tasks(&self.callback_path())
    }

    async fn is_ready(&self) -> bool {
        match &self.internal {
            Some(internal) => matches!(internal.get("/readyz").await, Ok((200, _))),
            None => self.callbacks.connect().await.is_ok(),
        }
    }

    /// SIGTERM; gives its place back when the process is gone.
    pub async fn stop(mut self) -> anyhow::Result<Stopped> {
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        let asked = Instant::now();
        while self.child.try_wait()?.is_none() {
            if asked.elapsed() > PATIENCE {
                bail!("does not end: {}", self.log_tail());
            }
            sleep(POLL).await;
        }
        Ok(Stopped(self))
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

/// A server that has ended; its files are there until this is dropped.
pub struct Stopped(Server);

impl Stopped {
    pub const fn place(&self) -> &Place {
        &self.0.place
    }
}

fn free_address() -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?)
}
