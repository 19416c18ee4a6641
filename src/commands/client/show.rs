//! `tasks show`: one task, and how it came to be what it is.

use std::io::Write;

use anyhow::Context as _;
use serde_json::Value;

use crate::cli::TasksShowArgs;
use crate::commands::api::{outcome_after_ms, seconds, text, time_ms};
use crate::commands::table::table;
use crate::exit::CommandError;
use crate::untrusted::Untrusted;

/// EvoLink explains a refusal in a paragraph.
const MESSAGE_CHARS_MAX: usize = 4096;

/// A signed URL is long, and of no use if it is cut.
const URL_CHARS_MAX: usize = 4096;

/// Shows one task and its time line.
pub async fn show(args: &TasksShowArgs, out: &mut impl Write) -> Result<(), CommandError> {
    let api = super::api(&args.client)?;
    let task = api.task(&args.id).await?;
    if args.json {
        return super::print_json(&task, out);
    }
    let history = api.history(super::name(&task)).await?;
    write_task(&task, out).context("could not print")?;
    write_history(&task, &history, out).context("could not print")?;
    Ok(())
}

/// A line for each thing that is known.
pub(super) fn write_task(task: &Value, out: &mut impl Write) -> std::io::Result<()> {
    let lines = [
        ("task", "/id"),
        ("submission", "/receiver/submission_id"),
        ("state", "/receiver/state"),
        ("told by", "/receiver/source"),
        ("model", "/model"),
        ("client", "/receiver/client"),
        ("submitted", "/receiver/submitted_at"),
    ];
    for (label, pointer) in lines {
        if let Some(text) = text(task, pointer) {
            writeln!(out, "{label:<11} {}", Untrusted(text))?;
        }
    }
    if let (Some(at), Some(ms)) = (text(task, "/receiver/outcome_at"), outcome_after_ms(task)) {
        writeln!(
            out,
            "{:<11} {}, after {}",
            "outcome",
            Untrusted(at),
            seconds(ms)
        )?;
    }
    if let Some(error) = task.get("error").filter(|error| !error.is_null()) {
        writeln!(out, "{:<11} {}", "error", error_line(error))?;
    }
    let results = task.pointer("/receiver/results").and_then(Value::as_array);
    for result in results.into_iter().flatten() {
        let url = text(result, "/url").or(text(result, "/origin_url"));
        let url = Untrusted::up_to(url.unwrap_or("-"), URL_CHARS_MAX);
        writeln!(out, "{:<11} {url}", "result")?;
        if let Some(at) = text(result, "/expires_at").filter(|_| text(result, "/url").is_none()) {
            writeln!(out, "{:<11} {} at EvoLink", "expires", Untrusted(at))?;
        }
    }
    Ok(())
}

/// The time line: each observation and each event, the oldest first.
fn write_history(task: &Value, items: &[Value], out: &mut impl Write) -> std::io::Result<()> {
    if items.is_empty() {
        return writeln!(out, "\nEvoLink has said nothing of it");
    }
    let submitted = time_ms(task, "/receiver/submitted_at");
    let mut table = table(["at", "after", "what", "by", "says", "result"], &[1]);
    for item in items {
        let cell = |pointer| Untrusted(text(item, pointer).unwrap_or("-")).to_string();
        let after = time_ms(item, "/at")
            .zip(submitted)
            .map_or_else(|| "-".to_owned(), |(at, submitted)| seconds(at - submitted));
        let (says, result) = if text(item, "/type") == Some("observation") {
            (cell("/body/status"), cell("/result"))
        } else {
            let seq = item["seq"].as_i64();
            let seq = seq.map_or_else(|| "-".to_owned(), |seq| format!("event {seq}"));
            (cell("/task/status"), seq)
        };
        table.add_row([
            cell("/at"),
            after,
            cell("/type"),
            cell("/source"),
            says,
            result,
        ]);
    }
    writeln!(out, "\n{}", table.trim_fmt())
}

/// `code: message`, or whatever EvoLink put in its place.
fn error_line(error: &Value) -> String {
    let Some(message) = text(error, "/message").or(error.as_str()) else {
        return Untrusted::up_to(&error.to_string(), MESSAGE_CHARS_MAX).to_string();
    };
    let message = Untrusted::up_to(message, MESSAGE_CHARS_MAX);
    match text(error, "/code") {
        Some(code) => format!("{}: {message}", Untrusted(code)),
        None => message.to_string(),
    }
}
