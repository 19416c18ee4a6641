//! The command line: what can be asked for, and nothing of how it is done.
//!
//! `main.rs` parses it and dispatches. A wrong command line exits with 64 (clap's own 2 says less).

mod backup;
mod deliveries;
mod events;
mod quarantine;
mod tasks;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::LazyLock;

use clap::error::{ContextKind, ContextValue};
use clap::{ArgAction, Args, Parser, Subcommand};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

pub use self::backup::{BackupArgs, RestoreArgs};
pub use self::deliveries::{DeliveriesCommand, DeliveriesListArgs, DeliveriesRetryArgs};
pub use self::events::{EventsCommand, EventsTailArgs};
pub use self::quarantine::{
    QuarantineCommand, QuarantineListArgs, QuarantineReplayArgs, QuarantineShowArgs,
};
pub use self::tasks::{TasksCommand, TasksListArgs, TasksShowArgs, TasksWatchArgs};
use crate::config::{Scope, check_name, read_secret_file};
use crate::exit::{CommandError, Exit};

/// The internal listener's default, seen from the same machine.
const SERVICE_URL: &str = "http://127.0.0.1:8080";

/// Receives EvoLink's callbacks, keeps every task's outcome, and hands it to your apps.
#[derive(Debug, Parser)]
#[command(name = "evolink-receiver", version = version(), propagate_version = true, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the service.
    Serve(ConfigArgs),
    /// Show everything in one process: simulator, receiver, a few prompts, each with its own trouble.
    Demo(DemoArgs),
    /// Run EvoLink's stand-in alone, so that an app can be tested without an account.
    Simulate(crate::simulator::SimulateArgs),
    /// Validate configuration, secrets, certificate, database and clock, without side effects.
    Check(ConfigArgs),
    /// Submit a prompt.
    Submit(SubmitArgs),
    /// Look at tasks.
    Tasks {
        #[command(subcommand)]
        command: TasksCommand,
    },
    /// Follow the log of what happens to tasks.
    Events {
        #[command(subcommand)]
        command: EventsCommand,
    },
    /// Look at callbacks that could not be applied, and apply them after a fix.
    Quarantine {
        #[command(subcommand)]
        command: QuarantineCommand,
    },
    /// Look at what endpoints are owed, and send it again.
    Deliveries {
        #[command(subcommand)]
        command: DeliveriesCommand,
    },
    /// Mint a standing callback URL, for tasks that an app submits to EvoLink itself.
    CallbackUrl(CallbackUrlArgs),
    /// Make API keys.
    Keys {
        #[command(subcommand)]
        command: KeysCommand,
    },
    /// Copy a service's store, key ring and signing secrets into a folder, while it runs or not.
    Backup(BackupArgs),
    /// Put a backup into place, as a new epoch of the store.
    Restore(RestoreArgs),
    /// Exit with 0 if the service is ready; for the container.
    Healthcheck(HealthcheckArgs),
}

/// For commands that work on a service's own files or keys.
#[derive(Debug, Clone, Args)]
pub struct ConfigArgs {
    /// The configuration file; `EVOLINK_RECEIVER__SECTION__KEY` overrides what it says.
    #[arg(long, value_name = "FILE", env = "EVOLINK_RECEIVER_CONFIG", value_parser = path)]
    pub config: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct DemoArgs {
    /// End with exit code 0 when all tasks are terminal, instead of at Ctrl-C.
    #[arg(long)]
    pub once: bool,
    /// Print one JSON summary as the last line.
    #[arg(long)]
    pub json: bool,
    /// How many prompts to submit.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub tasks: u16,
    /// Keep database and certificate here, instead of in a directory that is removed at the end.
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
}

/// For commands that list.
#[derive(Debug, Clone, Args)]
pub struct PageArgs {
    /// How many, at most.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=200))]
    pub limit: u16,
    /// Go on where an earlier page ended (its `next`).
    #[arg(long)]
    pub cursor: Option<String>,
    /// Print the page as JSON.
    #[arg(long)]
    pub json: bool,
}

/// For commands that are clients of a running service's internal API.
#[derive(Debug, Clone, Args)]
pub struct ClientArgs {
    /// Where the service's internal listener is.
    #[arg(
        long,
        value_name = "URL",
        env = "EVOLINK_RECEIVER_URL",
        default_value = SERVICE_URL,
        value_parser = service_url
    )]
    pub url: Url,
    /// The API key; better by file or environment, since a command line is seen by everyone on the machine.
    #[arg(
        long,
        value_name = "KEY",
        env = "EVOLINK_RECEIVER_API_KEY",
        hide_env_values = true
    )]
    pub api_key: Option<SecretString>,
    /// The file that holds the API key.
    #[arg(
        long,
        value_name = "FILE",
        env = "EVOLINK_RECEIVER_API_KEY_FILE",
        value_parser = path
    )]
    pub api_key_file: Option<PathBuf>,
}

impl ClientArgs {
    /// `None`: no key was given, which a service on loopback without keys is content with.
    ///
    /// # Errors
    /// Key and file are both given, or the file cannot be read or is empty.
    pub fn read_api_key(&self) -> Result<Option<SecretString>, CommandError> {
        let is_given = |key: &&SecretString| !key.expose_secret().is_empty();
        let api_key = self.api_key.as_ref().filter(is_given);
        let file = self.api_key_file.as_deref();
        let file = file.filter(|file| !file.as_os_str().is_empty());
        match (api_key, file) {
            (Some(_), Some(_)) => Err(CommandError::new(
                Exit::Usage,
                "give --api-key or --api-key-file (or the environment variable of one), not both",
            )),
            (Some(api_key), None) => Ok(Some(api_key.clone())),
            (None, Some(file)) => Ok(Some(read_secret_file("--api-key-file", file)?)),
            (None, None) => Ok(None),
        }
    }
}

#[derive(Debug, Args)]
pub struct SubmitArgs {
    /// What the image shall show, at most 2000 characters.
    pub prompt: String,
    /// A ratio (16:9) or width and height (1024x768).
    #[arg(long)]
    pub size: Option<String>,
    /// For the same image again: 1 to 2147483647.
    #[arg(long)]
    pub seed: Option<i64>,
    /// Have EvoLink judge the result.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub nsfw_check: Option<bool>,
    #[arg(long, default_value = "z-image-turbo")]
    pub model: String,
    /// Wait for the outcome, 60 seconds if no number is given.
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true, default_missing_value = "60")]
    pub wait: Option<u64>,
    /// Makes a repetition harmless: the same key and prompt give the same answer. 16 to 96 of `[A-Za-z0-9._-]`.
    #[arg(long, value_name = "KEY")]
    pub idempotency_key: Option<String>,
    /// Print the task object as JSON.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub client: ClientArgs,
}

#[derive(Debug, Args)]
pub struct CallbackUrlArgs {
    /// What the tasks are recorded under, as their client.
    #[arg(long, value_name = "NAME")]
    pub label: String,
    #[command(flatten)]
    pub config: ConfigArgs,
}

#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// Print a fresh API key and the configuration lines for it.
    New(KeysNewArgs),
}

#[derive(Debug, Args)]
pub struct KeysNewArgs {
    /// Who uses the key; tasks show it as their client.
    #[arg(long, value_parser = key_name)]
    pub name: String,
    /// What the key may do: submit, read, admin.
    #[arg(long, value_name = "SCOPES", value_delimiter = ',', required = true, action = ArgAction::Append)]
    pub scopes: Vec<Scope>,
    /// Print one JSON object: name, key, sha256, scopes.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct HealthcheckArgs {
    /// Where the service's internal listener is; without it, where the configuration says.
    #[arg(long, value_name = "URL", value_parser = service_url)]
    pub url: Option<Url>,
    /// Ask only whether the process lives. For what restarts a service that fails: a restart does not help one that
    /// waits for its database or its disk.
    #[arg(long)]
    pub live: bool,
    #[command(flatten)]
    pub config: ConfigArgs,
}

impl Cli {
    /// Parses the process's arguments. After help, version or a complaint, which it prints, there is only an exit code.
    ///
    /// # Errors
    /// 0 after `--help` and `--version`, else 64.
    pub fn from_process() -> Result<Self, ExitCode> {
        Self::try_parse().map_err(|mut error| {
            // clap quotes the value that it refuses, and a URL may hold a password.
            if matches!(error.get(ContextKind::InvalidValue), Some(ContextValue::String(value)) if value.contains('@')) {
                let hidden = ContextValue::String("(not shown)".to_owned());
                error.insert(ContextKind::InvalidValue, hidden);
            }
            // Nothing can be done about a closed terminal, and the exit code says the same.
            let _ = error.print();
            if error.use_stderr() {
                Exit::Usage.into()
            } else {
                Exit::Ok.into()
            }
        })
    }
}

/// The version, and the commit if the build knew it.
pub fn version() -> &'static str {
    static VERSION: LazyLock<String> = LazyLock::new(|| {
        let version = env!("CARGO_PKG_VERSION");
        let commit = option_env!("EVOLINK_RECEIVER_COMMIT").unwrap_or("unknown commit");
        format!("{version} ({commit})")
    });
    &VERSION
}

fn key_name(text: &str) -> Result<String, String> {
    check_name(text).map(|()| text.to_owned())
}

// An environment variable that is set to nothing counts as absent, in the following two as everywhere.

fn service_url(text: &str) -> Result<Url, String> {
    let text = if text.is_empty() { SERVICE_URL } else { text };
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    if !["http", "https"].contains(&url.scheme()) || !url.has_host() {
        Err("must be http:// or https://".into())
    } else if !url.username().is_empty() || url.password().is_some() {
        Err("must not hold a user or a password".into())
    } else if url.query().is_some() || url.fragment().is_some() {
        Err("must not have a query or a fragment".into())
    } else {
        Ok(url)
    }
}

/// Unlike clap's own parser, lets an empty path pass; whoever reads it takes it for none.
#[expect(clippy::unnecessary_wraps, reason = "clap wants a Result")]
fn path(text: &str) -> Result<PathBuf, String> {
    Ok(text.into())
}
