//! `tasks show`: one task and its history.

use std::io::Write;

use anyhow::Context as _;
use serde_json::Value;

use crate::cli::TasksShowArgs;
use crate::commands::api::{outcome_after_ms, seconds, text, time_ms};
use crate::commands::table::{Table, column};
use crate::exit::CommandError;
use crate::observe::untrusted::Untrusted;

/// The longest error message. EvoLink explains a refusal in a paragraph.
const MESSAGE_CHARS_MAX: usize = 4096;

/// The longest URL. A signed URL is long, and useless if it is cut.
const URL_CHARS_MAX: usize = 4096;

/// The longest prompt. EvoLink takes 2000 characters.
const PROMPT_CHARS_MAX: usize = 2000;

/// Shows one task and its history.
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

/// Writes one line for each known value.
pub(super) fn write_task(task: &Value, out: &mut impl Write) -> std::io::Result<()> {
    write_ids(task, out)?;
    write_rest(task, out)
}

/// Writes by which ids the task can be asked for.
pub(super) fn write_ids(task: &Value, out: &mut impl Write) -> std::io::Result<()> {
    let lines = [("task", "/id"), ("submission", "/receiver/submission_id")];
    write_texts(task, &lines, out)
}

fn write_texts(task: &Value, lines: &[(&str, &str)], out: &mut impl Write) -> std::io::Result<()> {
    for (label, pointer) in lines {
        if let Some(text) = text(task, pointer) {
            writeln!(out, "{label:<11} {}", Untrusted(text))?;
        }
    }
    Ok(())
}

/// Writes what `write_ids` does not.
pub(super) fn write_rest(task: &Value, out: &mut impl Write) -> std::io::Result<()> {
    let lines = [
        ("state", "/receiver/state"),
        ("source", "/receiver/source"),
        ("model", "/model"),
        ("client", "/receiver/client"),
        ("reference", "/receiver/reference"),
        ("submitted", "/receiver/submitted_at"),
    ];
    write_texts(task, &lines, out)?;
    if let Some(prompt) = text(task, "/receiver/request/prompt") {
        let prompt = Untrusted::up_to(prompt, PROMPT_CHARS_MAX);
        writeln!(out, "{:<11} {prompt}", "prompt")?;
    }
    if let Some(note) = note(text(task, "/receiver/state").unwrap_or_default()) {
        writeln!(out, "{:<11} {note}", "note")?;
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
        if let Some(error) = text(result, "/error") {
            let is_over = text(result, "/url").is_none();
            let state = if is_over {
                "not archived"
            } else {
                "not archived yet"
            };
            let error = Untrusted::up_to(error, MESSAGE_CHARS_MAX);
            writeln!(out, "{:<11} {state}: {error}", "")?;
        }
        if let Some(at) = text(result, "/expires_at").filter(|_| text(result, "/url").is_none()) {
            writeln!(out, "{:<11} {} at EvoLink", "expires", Untrusted(at))?;
        }
    }
    Ok(())
}

/// Explains a state that EvoLink does not have.
fn note(state: &str) -> Option<&'static str> {
    match state {
        "submitting" => Some("EvoLink has not answered yet"),
        "submit_unknown" => Some(
            "EvoLink may have accepted and charged this; it is not sent again. If it was accepted, its callback brings the outcome",
        ),
        "rejected" => Some("EvoLink did not accept this; nothing was charged"),
        "unresolved" => Some(
            "EvoLink does not know this task, or never reported its outcome; a later outcome still counts",
        ),
        _ => None,
    }
}

/// Writes everything that is known about the course of the task, oldest first.
fn write_history(task: &Value, items: &[Value], out: &mut impl Write) -> std::io::Result<()> {
    let submitted = time_ms(task, "/receiver/submitted_at");
    let mut table = Table::new([
        column("at").drop(1),
        column("after").right(),
        column("what"),
        column("by").drop(3),
        column("says").drop(2),
        column("result").cut(24),
    ]);
    for item in items {
        let after = time_ms(item, "/at")
            .zip(submitted)
            .map_or_else(|| "-".to_owned(), |(at, submitted)| seconds(at - submitted));
        let kind = cell(item, "/type");
        let (says, result) = match kind.as_str() {
            "observation" => (cell(item, "/body/status"), observed(item)),
            "quarantine" => (cell(item, "/result"), quarantined(item)),
            "submit" => ("-".to_owned(), cell(item, "/result")),
            _ => (
                cell(item, "/task/status"),
                format!("event {}", cell(item, "/id")),
            ),
        };
        table.add_row([cell(item, "/at"), after, kind, way(item), says, result]);
    }
    if !items.is_empty() {
        writeln!(out)?;
        table.write(out)?;
    }
    if !items.iter().any(|item| item["type"] == "observation") {
        writeln!(
            out,
            "\nEvoLink has said nothing of it that could be recorded"
        )?;
    }
    Ok(())
}

fn cell(item: &Value, pointer: &str) -> String {
    Untrusted(text(item, pointer).unwrap_or("-")).to_string()
}

/// Names the source of an item. `callback 2` is the second callback about this task.
fn way(item: &Value) -> String {
    let source = cell(item, "/source");
    match (source.as_str(), item["nth"].as_u64()) {
        ("callback" | "poll", Some(nth)) => format!("{source} {nth}"),
        _ => source,
    }
}

/// Describes the result of an observation. For the first one, also how it was bound to this task.
fn observed(item: &Value) -> String {
    let mut result = cell(item, "/result");
    if let Some(bound) = text(item, "/bound").filter(|bound| *bound != "answered") {
        result = format!(
            "{result}, {}",
            Untrusted(bound).to_string().replace('_', " ")
        );
    }
    match item["quarantine_id"].as_i64() {
        Some(id) => format!("{result}, quarantine {id}"),
        None => result,
    }
}

fn quarantined(item: &Value) -> String {
    let mut line = format!("quarantine {}", item["quarantine_id"]);
    if let Some(repeats) = item["repeats"].as_u64().filter(|repeats| *repeats > 0) {
        line = format!("{line}, {} times", repeats + 1);
    }
    if let Some(result) = text(item, "/replay_result") {
        line = format!("{line}, replayed: {}", Untrusted(result));
    }
    format!("{line}: {}", cell(item, "/reason"))
}

/// Formats an error as `code: message`, or as whatever EvoLink sent instead.
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
