//! `status`, `submit`, `tasks`, `events`, `quarantine`, `deliveries`: clients of a running service's
//! internal API. They print tables for people and JSON for programs. A command succeeds if the
//! service did what was requested; `submit --wait` only if the task completed. `api` maps errors
//! to exit codes.

pub mod deliveries;
pub mod events;
mod export;
pub mod quarantine;
pub mod results;
mod show;
pub mod status;
mod submit;
mod watch;

use std::io::Write;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::{Value, json};
use tokio::time::Instant;

pub use self::export::export;
pub use self::show::show;
pub use self::submit::submit;
pub use self::watch::watch;
use crate::cli::{ClientArgs, PageArgs, TasksListArgs};
use crate::clock::Clock;
use crate::commands::api::{Api, age, outcome_after_ms, seconds, take_data, text, time_ms};
use crate::commands::service::Service;
use crate::commands::table::{Table, column};
use crate::exit::{CommandError, Exit};
use crate::observe::untrusted::Untrusted;

/// The most pages of the service that one list reads. Each page may scan ten thousand tasks.
const PAGES_MAX: usize = 1000;

/// The start of a prompt in a list, enough to recognise it.
const PROMPT_CHARS_MAX: usize = 60;

/// The interval for polling what no event reports, and the delay before a failed query is repeated.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Lists a page of tasks. The page is full if there are enough tasks.
pub async fn list(args: &TasksListArgs, out: &mut impl Write) -> Result<(), CommandError> {
    let api = api(&args.client)?;
    let created_after = args.created_after.map(|time| time.to_string());
    let filters = [
        ("status", args.status.clone()),
        ("client", args.client_name.clone()),
        ("reference", args.reference.clone()),
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
    let service = Service::find(args.url.as_ref(), args.config.as_deref())?;
    Api::new(service, args.read_api_key()?)
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
    let mut table = Table::new([
        column("task"),
        column("state"),
        column("prompt").cut(8),
        column("age").right().drop(4),
        column("after").right().drop(3),
        column("source").drop(2),
        column("client").drop(1),
    ]);
    let now = Clock::System.wall_now().as_millis();
    for task in tasks {
        let cell = |pointer| Untrusted(text(task, pointer).unwrap_or("-")).to_string();
        let prompt = text(task, "/receiver/request/prompt").unwrap_or("-");
        let submitted = time_ms(task, "/receiver/submitted_at");
        table.add_row([
            cell("/id"),
            cell("/receiver/state"),
            Untrusted::up_to(prompt, PROMPT_CHARS_MAX).to_string(),
            submitted.map_or_else(|| "-".to_owned(), |at| age(now - at)),
            outcome_after_ms(task).map_or_else(|| "-".to_owned(), seconds),
            cell("/receiver/source"),
            cell("/receiver/client"),
        ]);
    }
    table.write(out)
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
