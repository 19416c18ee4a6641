//! The programs under test: how each is started and configured, and what it responds. `servers`
//! starts them.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

static BEFORE: OnceLock<PathBuf> = OnceLock::new();

/// Sets the program of `Target::ReceiverBefore`. Returns false if it was set before.
pub fn set_before(program: PathBuf) -> bool {
    BEFORE.set(program).is_ok()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Target {
    /// A: accepts callbacks over HTTPS, parses them, and stores nothing.
    StoresNothing,
    /// B: like A, with a transaction for each callback.
    CommitsEach,
    CommitsEachOnPostgres,
    /// The release build of the program.
    Receiver,
    ReceiverOnPostgres,
    /// The receiver behind a proxy that terminates TLS.
    ReceiverPlain,
    /// Another build of the program, given by `--before`.
    ReceiverBefore,
    /// A webhook gateway from the Rust package registry. It stores what it accepts, too. Plain
    /// HTTP.
    Qhook,
}

/// The parameters with which a target is started.
pub struct Start<'a> {
    pub folder: &'a Path,
    pub public: SocketAddr,
    pub internal: SocketAddr,
    /// The URL of the database.
    pub store: &'a str,
    pub settings: &'a Settings,
}

/// The settings in which receivers' configurations differ.
#[derive(Clone, Debug)]
pub struct Settings {
    pub internal_connections: usize,
    /// Additional tables, in TOML.
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

    /// The text in its response to a callback that it had not seen before.
    pub const fn says_recorded(self) -> &'static str {
        match self {
            Self::Qhook => "\"duplicate\":false",
            _ => "\"recorded\"",
        }
    }

    /// Returns the path of callbacks.
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

/// Configures a receiver. All limits have their defaults, except those on connections: here all
/// clients have one address.
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
[archive]
enabled = false
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

/// The folder in which `cargo install` puts qhook.
pub fn qhook_root() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("qhook")
}

/// Configures qhook to store durably and do nothing else: each event and its job are one
/// transaction, and nothing is delivered.
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
