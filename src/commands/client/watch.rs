//! `tasks watch`: prints a line for each change of a task, from the stream of events, until all are
//! finished.

use std::collections::HashMap;
use std::io::Write;
use std::pin::pin;

use anyhow::Context as _;
use futures_util::{StreamExt, stream};
use serde_json::Value;
use tokio::time::sleep;

use super::{POLL_INTERVAL, is_passing, name};
use crate::cli::TasksWatchArgs;
use crate::commands::api::{Api, is_terminal, outcome_after_ms, seconds, state, take_data, text};
use crate::commands::output::is_read;
use crate::commands::stream::{News, follow};
use crate::exit::CommandError;
use crate::observe::untrusted::Untrusted;

/// The states of unfinished tasks, in the order in which a task goes through them.
const OPEN_STATES: [&str; 4] = ["submitting", UNKNOWN, "pending", "processing"];

/// The state of a submit of unknown outcome. It has no task, and may stay like this for ever.
const UNKNOWN: &str = "submit_unknown";

/// The most tasks to watch. More are unreadable, and would keep the service from other work.
const TASKS_MAX: usize = 1000;

const REQUESTS_AT_ONCE: usize = 8;

/// Failed attempts to query the service, one a second. After this many it is not just restarting.
const MISSES_MAX: usize = 30;

/// The unfinished tasks by submission id, each with what was last printed about it.
#[derive(Default)]
struct Watched {
    open: HashMap<String, Option<Shown>>,
    json: bool,
}

/// The progress of a task: the position of its state in the order, and its percentage.
type Shown = (usize, i64);

/// Watches the given tasks, or all that are unfinished now. In the second case, ends when only
/// submits of unknown outcome are left.
///
/// # Errors
/// A task that does not exist, or a service that cannot be reached for half a minute.
pub async fn watch(args: &TasksWatchArgs, out: &mut impl Write) -> Result<(), CommandError> {
    let api = super::api(&args.client)?;
    let mut news = pin!(follow(api.clone(), Vec::new()));
    let mut watched = Watched {
        json: args.json,
        ..Watched::default()
    };
    // Open the stream first and query afterwards, so that no change is missed between the two.
    let mut is_first = true;
    loop {
        let news = tokio::select! {
            news = news.next() => news.context("a stream has no end")??,
            // No event reports a submit that EvoLink refuses, so poll for it.
            () = sleep(POLL_INTERVAL), if watched.has_submits() => News::Opened,
        };
        let seen = match news {
            News::Opened if std::mem::take(&mut is_first) => {
                let tasks = first_look(&api, args).await?;
                if tasks.is_empty() && !args.json {
                    writeln!(out, "no task is under way").context("could not print")?;
                }
                watched.begin(&tasks, out)
            }
            News::Opened | News::Resumed => {
                let ids: Vec<String> = watched.open.keys().cloned().collect();
                let tasks = look_again(&api, &ids).await?;
                watched.see(&tasks, out)
            }
            News::Event(mut event) => {
                let task = event["task"].take();
                watched.see(&[task], out)
            }
        };
        if !is_read(seen).context("could not print")? || watched.open.is_empty() {
            return Ok(());
        }
        // Someone who names a record wants to wait for its callback.
        if args.ids.is_empty() && watched.has_only_unknown() {
            return watched.end_with_unknown(out);
        }
    }
}

async fn first_look(api: &Api, args: &TasksWatchArgs) -> Result<Vec<Value>, CommandError> {
    if args.ids.is_empty() {
        return open_tasks(api).await;
    }
    look(api, &args.ids).await
}

/// Returns at most `TASKS_MAX` unfinished tasks, state by state, the newest of each first.
async fn open_tasks(api: &Api) -> Result<Vec<Value>, CommandError> {
    let mut open = Vec::new();
    // Those that may never end come last, so that they do not take the place of others.
    let states = OPEN_STATES.into_iter().filter(|state| *state != UNKNOWN);
    for state in states.chain([UNKNOWN]) {
        let mut cursor = None;
        while open.len() < TASKS_MAX {
            let mut query = vec![("status", state.to_owned()), ("limit", "200".to_owned())];
            query.extend(cursor.take().map(|cursor| ("cursor", cursor)));
            let page = api.list(&query).await?;
            cursor = text(&page, "/next").map(str::to_owned);
            open.extend(take_data(page));
            if cursor.is_none() {
                break;
            }
        }
    }
    open.truncate(TASKS_MAX);
    Ok(open)
}

/// Returns the tasks as they are now, in the order of `ids`.
async fn look(api: &Api, ids: &[String]) -> Result<Vec<Value>, CommandError> {
    let answers = stream::iter(ids)
        .map(|id| api.task(id))
        .buffered(REQUESTS_AT_ONCE);
    let answers: Vec<Result<Value, CommandError>> = answers.collect().await;
    answers.into_iter().collect()
}

/// Does the same as `look`, but retries while the service may be restarting.
async fn look_again(api: &Api, ids: &[String]) -> Result<Vec<Value>, CommandError> {
    for _ in 0..MISSES_MAX {
        match look(api, ids).await {
            Err(error) if is_passing(error.exit) => sleep(POLL_INTERVAL).await,
            looked => return looked,
        }
    }
    look(api, ids).await
}

impl Watched {
    fn begin(&mut self, tasks: &[Value], out: &mut impl Write) -> std::io::Result<()> {
        let ids = tasks.iter().map(|task| name(task).to_owned());
        self.open = ids.map(|id| (id, None)).collect();
        self.see(tasks, out)
    }

    /// Prints a line for each watched task that has advanced. An event may report what a query
    /// already showed.
    fn see(&mut self, tasks: &[Value], out: &mut impl Write) -> std::io::Result<()> {
        for task in tasks {
            let progress = task["progress"].as_i64().unwrap_or_default();
            let state = state(task);
            let now = (place(state), progress);
            let Some(shown) = self.open.get_mut(name(task)) else {
                continue;
            };
            if shown.is_some_and(|shown| shown >= now) {
                continue;
            }
            if self.json {
                writeln!(out, "{task}")?;
            } else {
                write_line(task, progress, out)?;
            }
            if is_terminal(state) {
                self.open.remove(name(task));
            } else {
                *shown = Some(now);
            }
        }
        out.flush()
    }

    /// Whether all that is left are submits of unknown outcome.
    fn has_only_unknown(&self) -> bool {
        let mut shown = self.open.values();
        shown.all(|shown| shown.is_some_and(|(place, _)| OPEN_STATES.get(place) == Some(&UNKNOWN)))
    }

    /// Says what is left. For programs, the last line of each record says it.
    fn end_with_unknown(&self, out: &mut impl Write) -> Result<(), CommandError> {
        if !self.json {
            let left = self.open.len();
            writeln!(
                out,
                "not waiting for {left} of unknown outcome: only a callback can end that, see `tasks show ID`"
            )
            .context("could not print")?;
        }
        Ok(())
    }

    /// Whether EvoLink has not accepted some submits yet.
    fn has_submits(&self) -> bool {
        let mut shown = self.open.values().flatten();
        shown.any(|(place, _)| {
            OPEN_STATES
                .get(*place)
                .is_some_and(|at| at.starts_with("submit"))
        })
    }
}

/// Returns the position of a state in the order in which a task goes through them. An unknown state
/// counts as the first.
fn place(state: &str) -> usize {
    let open = OPEN_STATES.iter().position(|open| *open == state);
    match open {
        None if is_terminal(state) => OPEN_STATES.len(),
        open => open.unwrap_or_default(),
    }
}

fn write_line(task: &Value, progress: i64, out: &mut impl Write) -> std::io::Result<()> {
    let id = Untrusted(text(task, "/id").unwrap_or("-"));
    let state = state(task);
    write!(out, "{id}  {}", Untrusted(state))?;
    match (text(task, "/receiver/source"), outcome_after_ms(task)) {
        (Some(source), Some(ms)) => {
            writeln!(out, ", by {} after {}", Untrusted(source), seconds(ms))
        }
        _ if is_terminal(state) => writeln!(out),
        _ => writeln!(out, ", {progress} %"),
    }
}
