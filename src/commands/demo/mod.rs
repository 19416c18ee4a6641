//! `demo`: runs everything in one process, as a first look before anything is set up. The simulator
//! plays EvoLink. The prompts go through the receiver's internal API, as an app's would.

mod board;
mod browser;
mod progress;
mod prompts;
mod stage;
mod summary;

use std::collections::HashMap;
use std::io::Write;
use std::time::Duration;

use anyhow::Context as _;
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use self::board::{History, Row};
use self::progress::Progress;
use self::prompts::Trouble;
use self::stage::Stage;
use self::summary::Summary;
use crate::cli::DemoArgs;
use crate::commands::api::{Api, take_data};
use crate::commands::output::is_read;
use crate::commands::serve::stop_on_signal;
use crate::exit::{CommandError, Exit};

const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// Far longer than the slowest machine needs. A task without an outcome by then will never have
/// one.
const PATIENCE: Duration = Duration::from_mins(1);
const PATIENCE_PER_TASK: Duration = Duration::from_millis(250);

const REQUESTS_AT_ONCE: usize = 16;

/// The largest page that the internal API returns.
const PAGE: &str = "200";

/// How long to wait for the second callback of a task, after every task has its outcome.
const SECOND_CALLBACK: Duration = Duration::from_secs(10);

/// Runs the demo until Ctrl-C, or with `--once` until every task is terminal.
///
/// # Errors
/// The reason why it could not start, or why a task had no outcome.
pub async fn demo(args: &DemoArgs, out: &mut impl Write) -> Result<(), CommandError> {
    let stop = stop_on_signal()?;
    let (stage, mut receiver) = Stage::start(args.data_dir.as_deref()).await?;
    let dashboard = format!("{}/", stage.api.base_url());
    writeln!(out, "dashboard  {dashboard}\n").context("could not print")?;
    if !args.no_open && !args.once {
        browser::open(&dashboard);
    }
    let shown = tokio::select! {
        shown = show(&stage, args, out) => shown,
        () = stop.cancelled() => Err(CommandError::new(Exit::Unavailable, "stopped before every task was finished")),
        ended = &mut receiver => return ended.context("the receiver died")?,
    };
    let is_read = matches!(shown, Ok(true));
    if is_read && !args.once {
        tokio::select! {
            () = stop.cancelled() => {}
            ended = &mut receiver => return ended.context("the receiver died")?,
        }
    }
    let stopped = stage.shut_down(receiver).await;
    shown.and(stopped)
}

/// Returns whether somebody still reads the output.
async fn show(stage: &Stage, args: &DemoArgs, out: &mut impl Write) -> Result<bool, CommandError> {
    let count = usize::from(args.tasks);
    let mut rows: Vec<Row> = prompts::prompts(count).into_iter().map(Row::new).collect();
    let started = Instant::now();
    let patience = PATIENCE + PATIENCE_PER_TASK * u32::from(args.tasks);
    timeout(patience, until_terminal(&stage.api, &mut rows, out))
        .await
        .map_err(|_| out_of_patience(&rows, patience))??;
    let elapsed_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    await_second_callback(&stage.api, &rows).await?;
    read_histories(&stage.api, &mut rows).await?;
    let summary = Summary::of(&rows, stage.simulator.stats().charges, elapsed_ms);
    let written = write_result(stage, args, &rows, &summary, out);
    Ok(is_read(written).context("could not print")?)
}

fn write_result(
    stage: &Stage,
    args: &DemoArgs,
    rows: &[Row],
    summary: &Summary,
    out: &mut impl Write,
) -> std::io::Result<()> {
    summary::write_table(rows, out)?;
    summary.write(out)?;
    if !args.once {
        summary::write_invitation(stage, rows, out)?;
    }
    if args.json {
        writeln!(out, "{}", serde_json::to_string(summary)?)?;
    }
    out.flush()
}

/// Submits every prompt, and polls until every task has an outcome.
async fn until_terminal(
    api: &Api,
    rows: &mut [Row],
    out: &mut impl Write,
) -> Result<(), CommandError> {
    let bodies: Vec<_> = rows
        .iter()
        .map(|row| (row.prompt.kind, row.prompt.body()))
        .collect();
    let mut submits = stream::iter(bodies.iter().enumerate())
        .map(async |(n, (kind, body))| (n, api.submit(*kind, body.to_string(), &[]).await))
        .buffer_unordered(REQUESTS_AT_ONCE);
    let mut progress = Progress::new(rows);
    let started = Instant::now();
    let mut looks = interval(POLL_INTERVAL);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let watched = loop {
        let changed = tokio::select! {
            Some((n, answer)) = submits.next() => match answer {
                Ok(task) => if rows[n].see(&task) { vec![n] } else { vec![] },
                Err(error) => break Err(error),
            },
            _ = looks.tick() => match look(api, rows).await {
                Ok(changed) => changed,
                Err(error) => break Err(error),
            },
        };
        for n in changed {
            progress.changed(rows, n, out).context("could not print")?;
        }
        progress
            .tick(rows, started.elapsed(), out)
            .context("could not print")?;
        if rows.iter().all(Row::is_terminal) {
            break Ok(());
        }
    };
    progress.finish();
    watched
}

/// Updates every row, page by page. Returns the rows whose state has changed.
async fn look(api: &Api, rows: &mut [Row]) -> Result<Vec<usize>, CommandError> {
    let mut open: HashMap<String, usize> = HashMap::new();
    for (n, row) in rows.iter().enumerate() {
        if let Some(id) = row.submission_id.as_ref().filter(|_| !row.is_terminal()) {
            open.insert(id.clone(), n);
        }
    }
    let mut changed = Vec::new();
    let mut query = vec![("limit", PAGE.to_owned())];
    while !open.is_empty() {
        let page = api.list(&query).await?;
        let next = page["next"].as_str().map(str::to_owned);
        for task in take_data(page) {
            let id = task["receiver"]["submission_id"].as_str();
            if let Some(n) = id.and_then(|id| open.remove(id))
                && rows[n].see(&task)
            {
                changed.push(n);
            }
        }
        let Some(cursor) = next else { break };
        query = vec![("limit", PAGE.to_owned()), ("cursor", cursor)];
    }
    Ok(changed)
}

/// Waits for the second callback, which comes after the task is terminal. If it never comes, the
/// summary shows that.
async fn await_second_callback(api: &Api, rows: &[Row]) -> Result<(), CommandError> {
    let twice = |row: &&Row| row.prompt.trouble == Some(Trouble::CalledBackTwice);
    let Some(row) = rows.iter().find(twice) else {
        return Ok(());
    };
    let deadline = Instant::now() + SECOND_CALLBACK;
    while History::of(&api.history(&row.task_id).await?).callbacks < 2 && Instant::now() < deadline
    {
        sleep(POLL_INTERVAL).await;
    }
    Ok(())
}

async fn read_histories(api: &Api, rows: &mut [Row]) -> Result<(), CommandError> {
    let histories: Vec<History> = stream::iter(rows.iter())
        .map(async |row| Ok(History::of(&api.history(&row.task_id).await?)))
        .buffered(REQUESTS_AT_ONCE)
        .try_collect::<Vec<History>>()
        .await
        .map_err(|error: CommandError| error)?;
    for (row, history) in rows.iter_mut().zip(histories) {
        row.history = history;
    }
    Ok(())
}

fn out_of_patience(rows: &[Row], patience: Duration) -> CommandError {
    let open = rows.iter().filter(|row| !row.is_terminal()).count();
    CommandError::new(
        Exit::Unavailable,
        format!(
            "{open} of {} tasks had no outcome after {} s",
            rows.len(),
            patience.as_secs()
        ),
    )
}
