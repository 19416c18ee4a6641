//! The programs under test: how each is started, where it listens, what it says. `servers` starts them.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

static BEFORE: OnceLock<PathBuf> = OnceLock::new();

/// Says what `Target::ReceiverBefore` is; once.
pub fn set_before(program: PathBuf) -> bool {
    BEFORE.set(program).is_ok()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Target {
    /// A: takes callbacks in over HTTPS, parses them, stores nothing.
    StoresNothing,
    /// B: A, and a transaction for each callback.
    CommitsEach,
    CommitsEachOnPostgres,
    /// The release build of the program.
    Receiver,
    ReceiverOnPostgres,
    /// The receiver behind a proxy that ends TLS.
    ReceiverPlain,
    /// Another build of the program: that of `--before`.
    ReceiverBefore,
    /// A webhook gateway from the registry of Rust, which keeps what it takes in, too. Plain HTTP.
    Qhook,
}

/// What a target is told on its start.
pub struct Start<'a> {
    pub folder: &'a Path,
    pub public: SocketAddr,
    pub internal: SocketAddr,
    /// The address of the database.
    pub store: &'a str,
    pub settings: &'a Settings,
}

/// What a receiver's configuration says beyond the usual.
#[derive(Clone, Debug)]
pub struct Settings {
    pub internal_connections: usize,
    /// Tables of its own, in TOML.
    pub tables: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            internal_connections: 1024,
            tables: String::new(),
        }
    }
}

impl Target {
    /// Whether what it acknowledges must be in its database.
    pub const fn is_durable(self) -> bool {
        !matches!(self, Self::StoresNothing)
    }

    pub const fn is_receiver(self) -> bool {
        matches!(
            self,
            Self::Receiver | Self::ReceiverOnPostgres | Self::ReceiverPlain | Self::ReceiverBefore
        )
    }

    pub const fn is_on_postgres(self) -> bool {
        matches!(self, Self::CommitsEachOnPostgres | Self::ReceiverOnPostgres)
    }

    pub const fn speaks_tls(self) -> bool {
        !matches!(self, Self::ReceiverPlain | Self::Qhook)
    }

    /// What it answers to a callback that it had not seen before.
    pub const fn says_recorded(self) -> &'static str {
        match self {
            Self::Qhook => "\"duplicate\":false",
            _ => "\"recorded\"",
        }
    }

    /// Where callbacks go.
    pub fn callback_path(self, token: &str) -> String {
        match self {
            Self::Qhook => "/webhooks/evolink".to_owned(),
            _ => format!("/callbacks/{token}"),
        }
    }

    fn program(self) -> PathBuf {
        match self {
            Self::ReceiverBefore => BEFORE.get().cloned().unwrap_or_default(),
            _ => env!("CARGO_BIN_EXE_evolink-receiver").into(),
        }
    }

    pub fn command(self, start: &Start) -> anyhow::Result<Command> {
        match self {
            Self::StoresNothing => baseline(start, false),
            Self::CommitsEach | Self::CommitsEachOnPostgres => baseline(start, true),
            Self::Receiver | Self::ReceiverOnPostgres | Self::ReceiverBefore => {
                let tls = format!(
                    r#"mode = "self-signed", self_signed_dir = "{}""#,
                    start.folder.display()
                );
                receiver(start, &self.program(), &tls)
            }
            Self::ReceiverPlain => receiver(start, &self.program(), r#"mode = "off""#),
            Self::Qhook => qhook(start),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::StoresNothing => "A",
            Self::CommitsEach => "B",
            Self::CommitsEachOnPostgres => "B on PostgreSQL",
            Self::Receiver => "receiver",
            Self::ReceiverOnPostgres => "receiver on PostgreSQL",
            Self::ReceiverPlain => "receiver, plain HTTP",
            Self::ReceiverBefore => "receiver of before",
            Self::Qhook => "qhook",
        })
    }
}

fn baseline(start: &Start, with_store: bool) -> anyhow::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("baseline").arg(start.public.to_string());
    command.arg(start.folder);
    if with_store {
        command.args(["--store", start.store]);
    }
    Ok(command)
}

/// All limits stand at their defaults but those on connections: all clients have one address here.
fn receiver(start: &Start, program: &Path, tls: &str) -> anyhow::Result<Command> {
    let Start {
        folder,
        public,
        internal,
        store,
        settings,
    } = start;
    let Settings {
        internal_connections,
        tables,
    } = settings;
    let text = format!(
        r#"
[public]
listen = "{public}"
base_url = "https://localhost"
max_connections = 4096
max_connections_per_address = 4096
tls = {{ {tls} }}
[internal]
listen = "{internal}"
max_connections = {internal_connections}
[evolink]
base_url = "http://127.0.0.1:1"
api_key = "not-a-key"
[store]
url = "{store}"
[callback_tokens]
key_file = "{0}/callback_tokens.key"
[forward]
secret_file = "{0}/forward.whsec"
[reconcile]
first_poll_after = "1h"
{tables}"#,
        folder.display()
    );
    let config = folder.join("config.toml");
    std::fs::write(&config, text)?;
    let mut command = Command::new(program);
    command.args(["serve", "--config"]).arg(config);
    Ok(command)
}

/// Where `cargo install` puts it.
pub fn qhook_root() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("qhook")
}

/// Durable ingest and nothing else: each event and its job in a transaction, delivered to nobody.
fn qhook(start: &Start) -> anyhow::Result<Command> {
    let text = format!(
        r#"
database:
  driver: sqlite
  url: "{}?mode=rwc"
server:
  port: {}
sources:
  evolink:
    type: webhook
    skip_verify: true
queues:
  apps:
    source: evolink
    idempotency_key: "$.id"
"#,
        start.store,
        start.public.port()
    );
    let config = start.folder.join("qhook.yaml");
    std::fs::write(&config, text)?;
    let mut command = Command::new(qhook_root().join("bin/qhook"));
    command.args(["start", "--config"]).arg(config);
    Ok(command)
}
