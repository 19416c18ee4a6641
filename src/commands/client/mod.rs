//! `submit`, `tasks`, `events`, `quarantine` and `deliveries`: clients of a running service's
//! internal API. They print tables for people and JSON for programs. A command succeeds if the
//! service did what was requested; `submit --wait` only if the task completed. `api` maps errors
//! to exit codes.

pub mod deliveries;
pub mod events;
pub mod quarantine;
pub mod results;
mod show;
mod watch;

use std::io::Write;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::{Map, Value, json};
use tokio::time::{Instant, sleep};

pub use self::show::show;
pub use self::watch::watch;
use crate::cli::{ClientArgs, PageArgs, SubmitArgs, TasksListArgs};
use crate::commands::api::{Api, is_terminal, outcome_after_ms, seconds, state, take_data, text};
use crate::commands::table::table;
use crate::exit::{CommandError, Exit};
use crate::observe::untrusted::Untrusted;

/// The most pages of the service that one list reads. Each page may scan ten thousand tasks.
const PAGES_MAX: usize = 1000;

/// The interval for polling what no event reports, and the delay before a failed query is repeated.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Submits one prompt, and waits for its outcome if requested.
///
/// # Errors
/// The submit was not accepted, or nobody knows whether it was (76). With `--wait`: the task ended
/// without results (1), or the time is over without an outcome (75).
pub async fn submit(args: &SubmitArgs, out: &mut impl Write) -> Result<(), CommandError> {
    let api = api(&args.client)?;
    let deadline = Instant::now() + Duration::from_secs(args.wait.unwrap_or_default());
    let (body, key) = (submit_body(args), args.idempotency_key.as_deref());
    let task = api.submit(&body, key, seconds_until(deadline)).await?;
    let task = outcome(&api, task, deadline).await?;
    if args.json {
        print_json(&task, out)?;
    } else {
        show::write_task(&task, out).context("could not print")?;
    }
    match (args.wait, state(&task)) {
        (Some(_), "completed") => match &args.out {
            Some(path) => {
                let id = name(&task);
                let bytes = results::download(&api, id, 0, Duration::ZERO, path).await?;
                if !args.json {
                    let path = path.display();
                    writeln!(out, "{:<11} {path}: {bytes} bytes", "saved")
                        .context("could not print")?;
                }
                Ok(())
            }
            None => Ok(()),
        },
        (None, _) => Ok(()),
        (Some(_), state) if is_terminal(state) => {
            let (id, state) = (Untrusted(name(&task)), Untrusted(state));
            let message = format!("the task of submission {id} is {state}");
            Err(CommandError::new(Exit::TaskFailed, message))
        }
        (Some(wait), _) => Err(CommandError::new(
            Exit::TempFail,
            format!("no outcome after {wait} s; the task goes on"),
        )),
    }
}

/// Lists a page of tasks. The page is full if there are enough tasks.
pub async fn list(args: &TasksListArgs, out: &mut impl Write) -> Result<(), CommandError> {
    let api = api(&args.client)?;
    let created_after = args.created_after.map(|time| time.to_string());
    let filters = [
        ("status", args.status.clone()),
        ("client", args.client_name.clone()),
        ("created_after", created_after),
    ];
    let page = full_page(&args.page, &filters, async |query| api.list(&query).await).await?;
    page.print(&args.page, out, write_list)
}

/// A page as a list command prints it.
struct ListPage {
    rows: Vec<Value>,
    next: Option<String>,
}

impl ListPage {
    /// Prints the page as JSON, or for people by means of `write`.
    fn print<O: Write>(
        self,
        args: &PageArgs,
        out: &mut O,
        write: impl FnOnce(&[Value], &mut O) -> std::io::Result<()>,
    ) -> Result<(), CommandError> {
        let Self { rows, next } = self;
        if args.json {
            return print_json(&json!({"data": rows, "next": next}), out);
        }
        let written = write(&rows, out).and_then(|()| write_more(next.as_deref(), out));
        written.context("could not print")?;
        Ok(())
    }
}

/// Reads pages until there are as many rows as requested. The service may return short pages for a
/// filter that few rows match.
async fn full_page(
    args: &PageArgs,
    filters: &[(&'static str, Option<String>)],
    ask: impl AsyncFn(Vec<(&'static str, String)>) -> Result<Value, CommandError>,
) -> Result<ListPage, CommandError> {
    let limit = usize::from(args.limit);
    let (mut rows, mut next) = (Vec::new(), args.cursor.clone());
    for _ in 0..PAGES_MAX {
        let given = filters.iter().cloned();
        let given = given.filter_map(|(name, value)| Some((name, value?)));
        let mut query: Vec<_> = given.collect();
        query.push(("limit", (limit - rows.len()).to_string()));
        query.extend(next.take().map(|cursor| ("cursor", cursor)));
        let page = ask(query).await?;
        next = text(&page, "/next").map(str::to_owned);
        rows.extend(take_data(page));
        if next.is_none() || rows.len() >= limit {
            break;
        }
    }
    Ok(ListPage { rows, next })
}

fn api(args: &ClientArgs) -> Result<Api, CommandError> {
    Api::new(args.url.clone(), args.read_api_key()?)
}

fn submit_body(args: &SubmitArgs) -> Value {
    let mut body = Map::new();
    body.insert("model".into(), json!(args.model));
    body.insert("prompt".into(), json!(args.prompt));
    // EvoLink chooses the values that were not given.
    let optional = [
        ("size", args.size.as_ref().map(|size| json!(size))),
        ("seed", args.seed.map(|seed| json!(seed))),
        ("nsfw_check", args.nsfw_check.map(|check| json!(check))),
    ];
    for (name, value) in optional {
        if let Some(value) = value {
            body.insert(name.into(), value);
        }
    }
    Value::Object(body)
}

/// Returns the task once it is finished, or as it is at the deadline. Until then, asks again if the
/// service restarts or has no free slot for a waiter: the submit was made, and its task continues.
async fn outcome(api: &Api, mut task: Value, deadline: Instant) -> Result<Value, CommandError> {
    let id = name(&task).to_owned();
    while !is_terminal(state(&task)) && Instant::now() < deadline {
        match api.task_within(&id, seconds_until(deadline)).await {
            Ok(found) => task = found,
            Err(error) if is_passing(error.exit) => {
                sleep(POLL_INTERVAL.min(deadline - Instant::now())).await;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(task)
}

/// Returns the seconds until the deadline, rounded up.
fn seconds_until(deadline: Instant) -> u64 {
    let left = deadline.saturating_duration_since(Instant::now());
    left.as_secs() + u64::from(left.subsec_nanos() > 0)
}

/// Whether the same request may succeed a little later.
fn is_passing(exit: Exit) -> bool {
    matches!(exit, Exit::Unavailable | Exit::TempFail)
}

fn write_list(tasks: &[Value], out: &mut impl Write) -> std::io::Result<()> {
    if tasks.is_empty() {
        return writeln!(out, "no tasks");
    }
    let header = ["task", "state", "source", "client", "submitted", "after"];
    let mut table = table(header, &[5]);
    for task in tasks {
        let cell = |pointer| Untrusted(text(task, pointer).unwrap_or("-")).to_string();
        table.add_row([
            cell("/id"),
            cell("/receiver/state"),
            cell("/receiver/source"),
            cell("/receiver/client"),
            cell("/receiver/submitted_at"),
            outcome_after_ms(task).map_or_else(|| "-".to_owned(), seconds),
        ]);
    }
    writeln!(out, "{}", table.trim_fmt())
}

fn write_more(next: Option<&str>, out: &mut impl Write) -> std::io::Result<()> {
    match next {
        Some(cursor) => writeln!(out, "there may be more: --cursor {}", Untrusted(cursor)),
        None => Ok(()),
    }
}

/// Returns the id to query a task by. It exists even before EvoLink has confirmed the task.
fn name(task: &Value) -> &str {
    let submission_id = text(task, "/receiver/submission_id");
    submission_id.or(text(task, "/id")).unwrap_or_default()
}

/// Prints one line of JSON, for programs. JSON escapes the control characters that could harm a
/// terminal.
fn print_json(value: &Value, out: &mut impl Write) -> Result<(), CommandError> {
    writeln!(out, "{value}").context("could not print")?;
    Ok(())
}
