//! `events tail`: prints the log of task events, one line each, as they happen.

use std::io::Write;
use std::pin::pin;

use anyhow::Context as _;
use futures_util::StreamExt as _;
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::EventsTailArgs;
use crate::commands::api::text;
use crate::commands::output::is_read;
use crate::commands::stream::{News, follow};
use crate::exit::CommandError;
use crate::observe::untrusted::Untrusted;

/// Prints events until Ctrl-C, or until the reader of the output closes it.
///
/// # Errors
/// An invalid query, or a service that cannot be reached for half a minute.
pub async fn tail(args: &EventsTailArgs, out: &mut impl Write) -> Result<(), CommandError> {
    let api = super::api(&args.client)?;
    let mut news = pin!(follow(api, query(args)));
    // Registered once, before the loop, so that no signal is lost between two iterations.
    let mut interrupts = signal(SignalKind::interrupt()).context("could not listen for Ctrl-C")?;
    loop {
        let news = tokio::select! {
            news = news.next() => news.context("a stream has no end")??,
            _ = interrupts.recv() => return Ok(()),
        };
        let News::Event(event) = news else { continue };
        if !is_read(write_event(&event, args.json, out)).context("could not print")? {
            return Ok(());
        }
    }
}

fn query(args: &EventsTailArgs) -> Vec<(&'static str, String)> {
    let types = (!args.types.is_empty()).then(|| args.types.join(","));
    let query = [
        ("after", args.after.map(|cursor| cursor.to_string())),
        ("types", types),
        ("task", args.task.clone()),
    ];
    let given = query.into_iter();
    given
        .filter_map(|(name, value)| Some((name, value?)))
        .collect()
}

fn write_event(event: &Value, json: bool, out: &mut impl Write) -> std::io::Result<()> {
    if json {
        writeln!(out, "{event}")?;
        return out.flush();
    }
    let part = |name| Untrusted(text(event, name).unwrap_or("-"));
    let task = text(event, "/task_id").or(text(event, "/submission_id"));
    write!(
        out,
        "{}  {}  {}  {}",
        part("/id"),
        part("/at"),
        part("/type"),
        Untrusted(task.unwrap_or("-"))
    )?;
    match text(event, "/source") {
        Some(source) => writeln!(out, ", by {}", Untrusted(source))?,
        None => writeln!(out)?,
    }
    out.flush()
}
