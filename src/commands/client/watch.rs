//! `tasks watch`: a line for each change of a task, until all are terminal.

use std::collections::HashMap;
use std::io::Write;

use anyhow::Context as _;
use futures_util::{StreamExt, stream};
use serde_json::Value;
use tokio::time::sleep;

use super::{LOOK_EVERY, name};
use crate::cli::TasksWatchArgs;
use crate::commands::api::{Api, is_terminal, outcome_after_ms, seconds, state, take_data, text};
use crate::exit::{CommandError, Exit};
use crate::untrusted::Untrusted;

/// States of tasks of which more is to be heard.
const OPEN_STATES: [&str; 4] = ["submitting", "submit_unknown", "pending", "processing"];

/// More than this nobody watches, and the service has other things to do.
const TASKS_MAX: usize = 1000;

const REQUESTS_AT_ONCE: usize = 8;

/// A restart of the service is no reason to stop watching; a service that is gone this many looks long is.
const MISSES_MAX: u32 = 30;

/// Watches the named tasks, or all that are not terminal now.
///
/// # Errors
/// A task that does not exist, or a service that is not reached for half a minute.
pub async fn watch(args: &TasksWatchArgs, out: &mut impl Write) -> Result<(), CommandError> {
    let api = super::api(&args.client)?;
    let mut open = if args.ids.is_empty() {
        open_tasks(&api).await?
    } else {
        args.ids.clone()
    };
    if open.is_empty() && !args.json {
        writeln!(out, "no task is under way").context("could not print")?;
    }
    let mut seen = HashMap::new();
    let mut misses = 0;
    while !open.is_empty() {
        match look(&api, &open).await {
            Ok(tasks) => {
                misses = 0;
                report(&tasks, &mut seen, args.json, out).context("could not print")?;
                open = still_open(open, &tasks);
            }
            Err(error) if is_passing(error.exit) && misses < MISSES_MAX => misses += 1,
            Err(error) => return Err(error),
        }
        if !open.is_empty() {
            sleep(LOOK_EVERY).await;
        }
    }
    Ok(())
}

/// The tasks that are not terminal now, the newest first.
async fn open_tasks(api: &Api) -> Result<Vec<String>, CommandError> {
    let mut open = Vec::new();
    for state in OPEN_STATES {
        let mut cursor = None;
        while open.len() < TASKS_MAX {
            let mut query = vec![("status", state.to_owned()), ("limit", "200".to_owned())];
            query.extend(cursor.take().map(|cursor| ("cursor", cursor)));
            let page = api.list(&query).await?;
            cursor = text(&page, "/next").map(str::to_owned);
            open.extend(take_data(page).iter().map(|task| name(task).to_owned()));
            if cursor.is_none() {
                break;
            }
        }
    }
    open.truncate(TASKS_MAX);
    Ok(open)
}

/// The tasks as they are now, in the order of their ids.
async fn look(api: &Api, ids: &[String]) -> Result<Vec<Value>, CommandError> {
    let answers = stream::iter(ids)
        .map(|id| api.task(id))
        .buffered(REQUESTS_AT_ONCE);
    let answers: Vec<Result<Value, CommandError>> = answers.collect().await;
    answers.into_iter().collect()
}

fn still_open(ids: Vec<String>, tasks: &[Value]) -> Vec<String> {
    let pairs = ids.into_iter().zip(tasks);
    pairs
        .filter(|(_, task)| !is_terminal(state(task)))
        .map(|(id, _)| id)
        .collect()
}

fn is_passing(exit: Exit) -> bool {
    matches!(exit, Exit::Unavailable | Exit::TempFail)
}

/// A line for each task that is not as it was.
fn report(
    tasks: &[Value],
    seen: &mut HashMap<String, (String, i64)>,
    json: bool,
    out: &mut impl Write,
) -> std::io::Result<()> {
    for task in tasks {
        let progress = task["progress"].as_i64().unwrap_or_default();
        let now = (state(task).to_owned(), progress);
        if seen.insert(name(task).to_owned(), now.clone()) == Some(now) {
            continue;
        }
        if json {
            writeln!(out, "{task}")?;
        } else {
            write_line(task, progress, out)?;
        }
    }
    out.flush()
}

fn write_line(task: &Value, progress: i64, out: &mut impl Write) -> std::io::Result<()> {
    let id = Untrusted(text(task, "/id").unwrap_or("-"));
    let state = state(task);
    write!(out, "{id}  {}", Untrusted(state))?;
    match (text(task, "/receiver/source"), outcome_after_ms(task)) {
        (Some(source), Some(ms)) => {
            writeln!(out, ", told by {} after {}", Untrusted(source), seconds(ms))
        }
        _ if is_terminal(state) => writeln!(out),
        _ => writeln!(out, ", {progress} %"),
    }
}
