//! The command line: commands and their arguments, without the code that runs them.
//!
//! `main.rs` parses it and dispatches. A wrong command line exits with 64, which says more than
//! clap's 2.

mod backup;
mod client;
mod completions;
mod deliveries;
mod events;
mod init;
mod keys;
mod listen;
mod quarantine;
mod results;
mod status;
mod submit;
mod tasks;

use std::io::{Write as _, stderr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::LazyLock;

use clap::error::{ContextKind, ContextValue};
use clap::{Args, Parser, Subcommand};

pub use self::backup::{BackupArgs, RestoreArgs};
pub use self::client::{ClientArgs, GivenUrl, PageArgs, SERVICE_URL};
pub use self::completions::{CompletionsArgs, ManArgs};
pub use self::deliveries::{
    DeliveriesCommand, DeliveriesListArgs, DeliveriesRetryArgs, DeliveriesShowArgs,
    DeliveriesTestArgs,
};
pub use self::events::{EventsCommand, EventsTailArgs};
pub use self::init::{InitArgs, Start};
pub use self::keys::{KeysCommand, KeysNewArgs};
pub use self::listen::ListenArgs;
pub use self::quarantine::{
    QuarantineCommand, QuarantineListArgs, QuarantineReplayArgs, QuarantineShowArgs,
};
pub use self::results::{
    ArchiveCommand, ArchiveRetryArgs, ArchiveVerifyArgs, ResultsCommand, ResultsGetArgs,
};
pub use self::status::StatusArgs;
pub use self::submit::SubmitArgs;
pub use self::tasks::{
    TasksCommand, TasksExportArgs, TasksListArgs, TasksShowArgs, TasksWatchArgs,
};
use crate::exit::Exit;

/// What the program says of itself if it is called without arguments.
const WELCOME: &str = "\
evolink-receiver receives EvoLink's callbacks, keeps every task's outcome, and passes it on to your apps.

  evolink-receiver demo      see it work: a simulator, a receiver and its dashboard, without an account
  evolink-receiver init      write a commented configuration to start from
  evolink-receiver serve     run the service, with its dashboard

evolink-receiver --help lists all commands.
";

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
    /// Write a commented configuration to start from.
    Init(InitArgs),
    /// Validate configuration, secrets, certificate, database and clock, without side effects.
    Check(CheckArgs),
    /// Show on one screen what works, what is open, and what is wrong.
    Status(StatusArgs),
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
    /// List deliveries to endpoints, retry them, and test endpoints.
    Deliveries {
        #[command(subcommand)]
        command: DeliveriesCommand,
    },
    /// Be an endpoint: print the webhooks that come, and verify their signatures.
    Listen(ListenArgs),
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
    /// Print a script that lets a shell complete commands and options.
    Completions(CompletionsArgs),
    /// Print the manual page, or write the pages of all commands.
    Man(ManArgs),
}

/// The arguments of commands that work on a service's own files or keys.
#[derive(Debug, Clone, Args)]
pub struct ConfigArgs {
    /// The configuration file; `EVOLINK_RECEIVER__SECTION__KEY` overrides what it says.
    #[arg(long, value_name = "FILE", env = "EVOLINK_RECEIVER_CONFIG", value_parser = path)]
    pub config: Option<PathBuf>,
}

#[derive(Debug, Clone, Args)]
pub struct CheckArgs {
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Test EvoLink's key and the public URL, too: calls both.
    #[arg(long)]
    pub online: bool,
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
    /// Do not open the dashboard in a browser. Without this, it is opened on a terminal of a
    /// graphical session, except with `--once`.
    #[arg(long)]
    pub no_open: bool,
    /// Keep database and certificate in this folder, instead of in one that is removed at the end.
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
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

impl Cli {
    /// Parses the process's arguments. Prints help, version or an error itself, and then returns
    /// only an exit code.
    ///
    /// # Errors
    /// 0 after `--help` and `--version`, otherwise 64.
    pub fn from_process() -> Result<Self, ExitCode> {
        Self::try_parse().map_err(|mut error| {
            if std::env::args_os().len() < 2 {
                // Not help: it would be two screens long, and the way to begin is three commands.
                let _ = stderr().write_all(WELCOME.as_bytes());
                return Exit::Usage.into();
            }
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

/// Accepts an empty path, unlike clap's own parser. The code that uses the path treats it as
/// absent, as everywhere an empty environment variable counts as absent.
#[expect(clippy::unnecessary_wraps, reason = "clap wants a Result")]
fn path(text: &str) -> Result<PathBuf, String> {
    Ok(text.into())
}
