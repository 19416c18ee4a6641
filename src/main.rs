//! Arguments, configuration, telemetry, run, exit code.

use std::io::stdout;
use std::process::ExitCode;

use evolink_receiver::cli::{Cli, Command, KeysCommand};
use evolink_receiver::commands::{check, keys};
use evolink_receiver::exit::{CommandError, Exit};
use evolink_receiver::telemetry::{self, LogTo};

fn main() -> ExitCode {
    let cli = match Cli::from_process() {
        Ok(cli) => cli,
        Err(exit) => return exit,
    };
    telemetry::init(match cli.command {
        Command::Serve(_) => LogTo::Stdout,
        _ => LogTo::Stderr,
    });
    match run(cli.command) {
        Ok(()) => Exit::Ok.into(),
        Err(error) => {
            telemetry::complain(&error);
            error.exit.into()
        }
    }
}

fn run(command: Command) -> Result<(), CommandError> {
    match command {
        Command::Check(args) => {
            let (_config, findings) = check::configuration(&args);
            check::report(&findings, &mut stdout().lock())
        }
        Command::Keys {
            command: KeysCommand::New(args),
        } => keys::new(&args, &mut stdout().lock()),
        Command::Serve(_)
        | Command::Demo(_)
        | Command::Submit(_)
        | Command::Tasks { .. }
        | Command::CallbackUrl(_)
        | Command::Healthcheck(_) => Err(CommandError::new(
            Exit::Unavailable,
            "this command is not in this build",
        )),
    }
}
