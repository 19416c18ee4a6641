//! The entry point: parses arguments, starts telemetry, runs the command, returns its exit code.

use std::io::stdout;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use evolink_receiver::cli::{
    ArchiveCommand, Cli, Command, DeliveriesCommand, EventsCommand, KeysCommand, QuarantineCommand,
    ResultsCommand, TasksCommand,
};
use evolink_receiver::commands::output::Out;
use evolink_receiver::commands::{
    backup, check, client, completions, demo, init, keys, listen, operate, restore, serve,
};
use evolink_receiver::exit::{CommandError, Exit};
use evolink_receiver::observe::telemetry;
use evolink_receiver::observe::telemetry::LogTo;
use evolink_receiver::process;
use tokio::runtime::Runtime;

/// How long the exit waits for threads that are still busy when everything else has ended.
const LEFT_OVER_TIMEOUT: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    process::without_empty_variables();
    let cli = match Cli::from_process() {
        Ok(cli) => cli,
        Err(exit) => return exit,
    };
    telemetry::init(match cli.command {
        Command::Serve(_) => LogTo::Stdout,
        Command::Demo(_) => LogTo::StderrOfDemo,
        _ => LogTo::Stderr,
    });
    match run(cli.command) {
        Ok(()) => Exit::Ok.into(),
        Err(error) => {
            error.all().for_each(telemetry::complain);
            error.exit.into()
        }
    }
}

fn run(command: Command) -> Result<(), CommandError> {
    // Not locked, because `serve` logs to stdout from every thread.
    let mut out = Out::new(stdout());
    match command {
        Command::Serve(args) => wait(serve::serve(&args, &mut out)),
        Command::Simulate(args) => wait(serve::simulate(args, &mut out)),
        Command::Init(args) => init::init(&args, &mut out),
        Command::Check(args) => wait(check::check(&args, &mut out)),
        Command::CallbackUrl(args) => operate::callback_url(&args, &mut out),
        Command::Keys {
            command: KeysCommand::New(args),
        } => keys::new(&args, &mut out),
        Command::Listen(args) => wait(listen::listen(&args, &mut out)),
        Command::Backup(args) => wait(backup::backup(&args, &mut out)),
        Command::Restore(args) => wait(restore::restore(&args, &mut out)),
        Command::Healthcheck(args) => wait(operate::healthcheck(&args)),
        Command::Completions(args) => completions::completions(&args, &mut out),
        Command::Man(args) => completions::man(&args, &mut out),
        Command::Demo(args) => wait(demo::demo(&args, &mut out)),
        Command::Status(args) => wait(client::status::status(&args, &mut out)),
        Command::Submit(args) => wait(client::submit(&args, &mut out)),
        Command::Tasks { command } => match command {
            TasksCommand::List(args) => wait(client::list(&args, &mut out)),
            TasksCommand::Show(args) => wait(client::show(&args, &mut out)),
            TasksCommand::Watch(args) => wait(client::watch(&args, &mut out)),
            TasksCommand::Export(args) => wait(client::export(&args, &mut out)),
        },
        Command::Results {
            command: ResultsCommand::Get(args),
        } => wait(client::results::get(&args, &mut out)),
        Command::Archive { command } => match command {
            ArchiveCommand::Retry(args) => wait(client::results::retry(&args, &mut out)),
            ArchiveCommand::Verify(args) => wait(client::results::verify(&args, &mut out)),
        },
        Command::Events {
            command: EventsCommand::Tail(args),
        } => wait(client::events::tail(&args, &mut out)),
        Command::Quarantine { command } => match command {
            QuarantineCommand::List(args) => wait(client::quarantine::list(&args, &mut out)),
            QuarantineCommand::Show(args) => wait(client::quarantine::show(&args, &mut out)),
            QuarantineCommand::Replay(args) => wait(client::quarantine::replay(&args, &mut out)),
        },
        Command::Deliveries { command } => match command {
            DeliveriesCommand::List(args) => wait(client::deliveries::list(&args, &mut out)),
            DeliveriesCommand::Show(args) => wait(client::deliveries::show(&args, &mut out)),
            DeliveriesCommand::Test(args) => wait(client::deliveries::test(&args, &mut out)),
            DeliveriesCommand::Retry(args) => wait(client::deliveries::retry(&args, &mut out)),
        },
    }
}

fn wait(command: impl Future<Output = Result<(), CommandError>>) -> Result<(), CommandError> {
    let runtime = Runtime::new().context("could not start the runtime")?;
    let result = runtime.block_on(command);
    // Name look-ups may still be running, and the system's resolver can take any time: stop waiting
    // for them.
    runtime.shutdown_timeout(LEFT_OVER_TIMEOUT);
    result
}
