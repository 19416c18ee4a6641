//! The command line: commands and their arguments, without the code that runs them.
//!
//! `main.rs` parses it and dispatches. A wrong command line exits with 64, which says more than
//! clap's 2.

mod backup;
mod deliveries;
mod events;
mod keys;
mod quarantine;
mod results;
mod tasks;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::LazyLock;

use clap::error::{ContextKind, ContextValue};
use clap::{Args, Parser, Subcommand};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

pub use self::backup::{BackupArgs, RestoreArgs};
pub use self::deliveries::{DeliveriesCommand, DeliveriesListArgs, DeliveriesRetryArgs};
pub use self::events::{EventsCommand, EventsTailArgs};
pub use self::keys::{KeysCommand, KeysNewArgs};
pub use self::quarantine::{
    QuarantineCommand, QuarantineListArgs, QuarantineReplayArgs, QuarantineShowArgs,
};
pub use self::results::{
    ArchiveCommand, ArchiveRetryArgs, ArchiveVerifyArgs, ResultsCommand, ResultsGetArgs,
};
pub use self::tasks::{TasksCommand, TasksListArgs, TasksShowArgs, TasksWatchArgs};
use crate::config::read_secret_file;
use crate::exit::{CommandError, Exit};

/// The internal listener's default address, as seen from the same machine.
const SERVICE_URL: &str = "http://127.0.0.1:8080";

/// Receives EvoLink's callbacks, keeps every task's outcome, and passes it on to your apps.
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
    /// Show everything in one process: simulator, receiver and a few prompts, each with its own
    /// trouble.
    Demo(DemoArgs),
    /// Run the EvoLink simulator alone, so that an app can be tested without an account.
    Simulate(crate::simulator::SimulateArgs),
    /// Validate configuration, secrets, certificate, database and clock, without side effects.
    Check(ConfigArgs),
    /// Submit a prompt.
    Submit(SubmitArgs),
    /// List, show and watch tasks.
    Tasks {
        #[command(subcommand)]
        command: TasksCommand,
    },
    /// Download archived results.
    Results {
        #[command(subcommand)]
        command: ResultsCommand,
    },
    /// Retry or verify archived results.
    Archive {
        #[command(subcommand)]
        command: ArchiveCommand,
    },
    /// Follow the log of changes to tasks.
    Events {
        #[command(subcommand)]
        command: EventsCommand,
    },
    /// Show callbacks that could not be applied, and apply them after a fix.
    Quarantine {
        #[command(subcommand)]
        command: QuarantineCommand,
    },
    /// List deliveries to endpoints, and retry them.
    Deliveries {
        #[command(subcommand)]
        command: DeliveriesCommand,
    },
    /// Create a shared callback URL, for tasks that an app submits to EvoLink itself.
    CallbackUrl(CallbackUrlArgs),
    /// Create API keys, and other secrets.
    Keys {
        #[command(subcommand)]
        command: KeysCommand,
    },
    /// Copy a service's store, key ring and signing secrets into a folder, while it runs or not.
    Backup(BackupArgs),
    /// Restore a backup, as a new epoch of the store.
    Restore(RestoreArgs),
    /// Exit with 0 if the service is ready; for container health checks.
    Healthcheck(HealthcheckArgs),
}

/// The arguments of commands that work on a service's own files or keys.
#[derive(Debug, Clone, Args)]
pub struct ConfigArgs {
    /// The configuration file; `EVOLINK_RECEIVER__SECTION__KEY` overrides what it says.
    #[arg(long, value_name = "FILE", env = "EVOLINK_RECEIVER_CONFIG", value_parser = path)]
    pub config: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct DemoArgs {
    /// End with exit code 0 when all tasks are finished, instead of at Ctrl-C.
    #[arg(long)]
    pub once: bool,
    /// Print one JSON summary as the last line.
    #[arg(long)]
    pub json: bool,
    /// The number of prompts to submit.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub tasks: u16,
    /// Keep database and certificate in this folder, instead of in one that is removed at the end.
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
}

/// The arguments of commands that list.
#[derive(Debug, Clone, Args)]
pub struct PageArgs {
    /// The most rows to show.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=200))]
    pub limit: u16,
    /// Continue where an earlier page ended (its `next`).
    #[arg(long)]
    pub cursor: Option<String>,
    /// Print the page as JSON.
    #[arg(long)]
    pub json: bool,
}

/// The arguments of commands that are clients of a running service's internal API.
#[derive(Debug, Clone, Args)]
pub struct ClientArgs {
    /// The URL of the service's internal listener.
    #[arg(
        long,
        value_name = "URL",
        env = "EVOLINK_RECEIVER_URL",
        default_value = SERVICE_URL,
        value_parser = service_url
    )]
    pub url: Url,
    /// The API key. Prefer the file or the environment: everyone on the machine can see a command
    /// line.
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
    /// Returns the API key, or `None` if none was given. A service on loopback without keys needs
    /// none.
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
    /// The description of the image, at most 2000 characters.
    pub prompt: String,
    /// A ratio (16:9) or width and height (1024x768).
    #[arg(long)]
    pub size: Option<String>,
    /// The seed, to get the same image again: 1 to 2147483647.
    #[arg(long)]
    pub seed: Option<i64>,
    /// Have EvoLink check the result for NSFW content.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub nsfw_check: Option<bool>,
    #[arg(long, default_value = "z-image-turbo")]
    pub model: String,
    /// Wait this long for the outcome; 60 seconds if no number is given.
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true, default_missing_value = "60")]
    pub wait: Option<u64>,
    /// With --wait: download the first result into this file.
    #[arg(long, value_name = "FILE", requires = "wait")]
    pub out: Option<PathBuf>,
    /// Make a repeated submit harmless: the same key and prompt return the same answer. 16 to 96
    /// characters of `[A-Za-z0-9._-]`.
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
    /// The label of the URL. Tasks that arrive through it show it as their client.
    #[arg(long, value_name = "NAME")]
    pub label: String,
    #[command(flatten)]
    pub config: ConfigArgs,
}

#[derive(Debug, Args)]
pub struct HealthcheckArgs {
    /// The URL of the service's internal listener; by default the one in the configuration.
    #[arg(
        long,
        value_name = "URL",
        env = "EVOLINK_RECEIVER_URL",
        value_parser = GivenUrl::parse
    )]
    pub url: Option<GivenUrl>,
    /// Check only whether the process is alive. Use this where a failed check restarts the service:
    /// a restart does not help while it waits for its database or its disk.
    #[arg(long)]
    pub live: bool,
    #[command(flatten)]
    pub config: ConfigArgs,
}

/// A service's URL; `None` if it was given as nothing, which counts as absent.
#[derive(Debug, Clone)]
pub struct GivenUrl(pub Option<Url>);

impl GivenUrl {
    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Self(None));
        }
        service_url(text).map(|url| Self(Some(url)))
    }
}

impl Cli {
    /// Parses the process's arguments. Prints help, version or an error itself, and then returns
    /// only an exit code.
    ///
    /// # Errors
    /// 0 after `--help` and `--version`, otherwise 64.
    pub fn from_process() -> Result<Self, ExitCode> {
        Self::try_parse().map_err(|mut error| {
            // clap quotes the value that it refuses, and a URL may contain a password.
            if matches!(error.get(ContextKind::InvalidValue), Some(ContextValue::String(value)) if value.contains('@')) {
                let hidden = ContextValue::String("(not shown)".to_owned());
                error.insert(ContextKind::InvalidValue, hidden);
            }
            // A closed terminal is no reason to fail, and the exit code carries the same
            // information.
            let _ = error.print();
            if error.use_stderr() {
                Exit::Usage.into()
            } else {
                Exit::Ok.into()
            }
        })
    }
}

/// Returns the version, with the commit if the build knew it.
pub fn version() -> &'static str {
    static VERSION: LazyLock<String> = LazyLock::new(|| {
        let version = env!("CARGO_PKG_VERSION");
        let commit = option_env!("EVOLINK_RECEIVER_COMMIT").unwrap_or("unknown commit");
        format!("{version} ({commit})")
    });
    &VERSION
}

// In both functions below, as everywhere, an empty environment variable counts as absent.

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

/// Accepts an empty path, unlike clap's own parser. The code that uses the path treats it as
/// absent.
#[expect(clippy::unnecessary_wraps, reason = "clap wants a Result")]
fn path(text: &str) -> Result<PathBuf, String> {
    Ok(text.into())
}
