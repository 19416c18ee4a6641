//! `status`: one screen with what works, what is open and what is wrong.

mod screen;

use std::io::{IsTerminal as _, Write, stdout};
use std::time::Duration;

use anyhow::Context as _;
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;

use super::{api, is_passing, print_json};
use crate::cli::StatusArgs;
use crate::commands::api::{Api, text};
use crate::commands::output::is_read;
use crate::exit::{CommandError, Exit};

const WATCH_INTERVAL: Duration = Duration::from_secs(2);

/// Moves the cursor to the top left of the terminal, and clears what is below it.
const CLEAR: &str = "\x1b[H\x1b[J";

/// Shows the status of the service, once or until Ctrl-C.
///
/// # Errors
/// 69 if the service is not ready or cannot be reached. With `--watch`, that is shown instead.
pub async fn status(args: &StatusArgs, out: &mut impl Write) -> Result<(), CommandError> {
    let api = api(&args.client)?;
    if args.watch {
        return watch(&api, args.json, out).await;
    }
    let status = ask(&api).await?;
    show(&status, args.json, out)?;
    match text(&status, "/service/reason") {
        Some(reason) => Err(CommandError::new(
            Exit::Unavailable,
            format!("not ready: {reason}"),
        )),
        None => Ok(()),
    }
}

async fn watch(api: &Api, json: bool, out: &mut impl Write) -> Result<(), CommandError> {
    let is_screen = !json && stdout().is_terminal();
    let mut interrupts = signal(SignalKind::interrupt()).context("could not listen for Ctrl-C")?;
    loop {
        let asked = tokio::select! {
            asked = ask(api) => asked,
            _ = interrupts.recv() => return Ok(()),
        };
        if is_screen {
            write!(out, "{CLEAR}").context("could not print")?;
        }
        match asked {
            Ok(status) => show(&status, json, out)?,
            // A service that is started again shows here that it was away.
            Err(error) if is_passing(error.exit) && json => {
                print_json(&json!({"error": error.to_string()}), out)?;
            }
            Err(error) if is_passing(error.exit) => {
                writeln!(out, "{error}").context("could not print")?;
            }
            Err(error) => return Err(error),
        }
        if !is_read(out.flush()).context("could not print")? {
            return Ok(());
        }
        tokio::select! {
            () = sleep(WATCH_INTERVAL) => {}
            _ = interrupts.recv() => return Ok(()),
        }
    }
}

fn show(status: &Value, json: bool, out: &mut impl Write) -> Result<(), CommandError> {
    if json {
        return print_json(status, out);
    }
    screen::write(status, out).context("could not print")?;
    Ok(())
}

/// Returns the status, or what anybody may know if our API key lacks the scope.
async fn ask(api: &Api) -> Result<Value, CommandError> {
    match api.status().await {
        Err(error) if error.exit == Exit::Config => {
            let ready = api.readiness().await?;
            let reason = text(&ready, "/reason");
            Ok(json!({
                "service": {"ready": reason.is_none(), "reason": reason},
                "details": ready["details"],
                "limited": error.message,
            }))
        }
        asked => asked,
    }
}
