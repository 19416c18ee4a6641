//! Measures how soon consumers learn an outcome at a moderate load, counted from the response to
//! its callback.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use sqlx::{AssertSqlSafe, Executor as _};
use tokio::task::JoinSet;
use tokio::time::{sleep, sleep_until};

use super::arrivals::{Arrivals, Delays, permille};
use super::sink::{Manner, Sink, tables};
use super::stream::Stream;
use super::waiter::wait;
use super::{answered, begin_tasks};
use crate::Bench;
use crate::callback::{Script, TaskNumber};
use crate::database;
use crate::disk::Disk;
use crate::figures::Bound::{AtMost, Beside};
use crate::figures::{Findings, Range};
use crate::load::{Load, Pace, Window};
use crate::servers::{Place, Server};
use crate::targets::Target::{Receiver, ReceiverOnPostgres};

/// Callbacks a second.
const RATE: u32 = 150;

/// How long before its callback a waiter begins to wait for a task.
const LEAD: Duration = Duration::from_millis(500);

/// After this time, earlier changes are known everywhere, with or without a wake-up.
const SETTLED: Duration = Duration::from_millis(2500);

const WAIT_SECONDS: u64 = 60;

/// The kinds of consumers, in this order.
const CONSUMERS: [&str; 3] = ["a waiting query", "a stream", "a webhook"];

type Heard = [Delays; 3];

pub async fn latency(bench: &Bench) -> anyhow::Result<Findings> {
    let mut found = Findings::default();
    let (mut alone, mut notified, mut cut_off) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=bench.rounds {
        let heard = in_one_process(bench).await?;
        tell(round, "one process", &heard);
        alone.push(heard);
        let [with, without] = over_replicas(bench).await?;
        tell(round, "replicas", &with);
        tell(round, "replicas, no NOTIFY", &without);
        notified.push(with);
        cut_off.push(without);
    }
    put(&mut found, "one process on SQLite", 5.0, &alone);
    put(&mut found, "another replica, by NOTIFY", 50.0, &notified);
    put(
        &mut found,
        "another replica, NOTIFY cut off",
        1000.0,
        &cut_off,
    );
    found.note(format!(
        "latency: {} callbacks a second in an open loop, {} tasks a round, each waited for, streamed and delivered at once; \
         counted from the callback's answer. Webhooks are sent by the replica that has recorded the outcome.",
        RATE, bench.tasks
    ));
    Ok(found)
}

async fn in_one_process(bench: &Bench) -> anyhow::Result<Heard> {
    let sink = Sink::open(Manner::TakesIt).await?;
    let mut place = Place::new(Receiver, Disk::FAST).await?;
    place.settings.tables = tables(std::slice::from_ref(&sink), place.path())?;
    let server = place.start(bench.setting.server_cpus.as_deref()).await?;
    let heard = measure(&server, &server, &sink, bench.tasks).await?;
    server.stop().await?;
    Ok(heard)
}

/// Sends callbacks to one replica while consumers use the other, first with wake-ups and then
/// without.
async fn over_replicas(bench: &Bench) -> anyhow::Result<[Heard; 2]> {
    let cpus = bench.setting.server_cpus.as_deref();
    let sinks = [
        Sink::open(Manner::TakesIt).await?,
        Sink::open(Manner::TakesIt).await?,
    ];
    let mut place = Place::new(ReceiverOnPostgres, Disk::FAST).await?;
    place.settings.tables = tables(&sinks[..1], place.path())?;
    let here = place.start(cpus).await?;
    let there = here.place().of_twin()?.start(cpus).await?;
    let with = measure(&here, &there, &sinks[0], bench.tasks).await?;
    open_pool(&there).await?;
    stop_listening(&here).await?;
    let without = measure(&here, &there, &sinks[0], bench.tasks).await?;
    there.stop().await?;
    here.stop().await?;
    Ok([with, without])
}

/// Makes the server open all its database connections, because it cannot open new ones later.
async fn open_pool(server: &Server) -> anyhow::Result<()> {
    let mut questions = JoinSet::new();
    for _ in 0..64 {
        let endpoint = server.internal()?.clone();
        questions.spawn(async move { endpoint.get("/v1/tasks?limit=200").await });
    }
    while let Some(answer) = questions.join_next().await {
        answer??;
    }
    Ok(())
}

/// Refuses new connections to the database and ends those that listen, so that no process gets a
/// NOTIFY.
async fn stop_listening(server: &Server) -> anyhow::Result<()> {
    let url = server.place().store_url();
    let beside = url.strip_suffix("/postgres").context("another database")?;
    let mut database = database::connect(&format!("{beside}/template1")).await?;
    for sql in [
        "ALTER DATABASE postgres ALLOW_CONNECTIONS false",
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'postgres' AND query ILIKE 'LISTEN%'",
    ] {
        database.execute(AssertSqlSafe(sql)).await?;
    }
    Ok(())
}

/// Sends outcomes to `here` at a steady rate, with consumers of each at `there`.
async fn measure(
    here: &Server,
    there: &Server,
    sink: &Sink,
    count: usize,
) -> anyhow::Result<Heard> {
    let tasks = begin_tasks(here, count).await?;
    sleep(SETTLED).await;
    let (waited, streamed) = (Arrivals::default(), Arrivals::default());
    let mut consumers = JoinSet::new();
    let stream = Stream::open(there.internal()?, "?types=task.completed").await?;
    consumers.spawn(stream.note(streamed.clone()));
    consumers.spawn(wait_in_turn(
        there.internal()?.clone(),
        Arc::clone(&tasks),
        waited.clone(),
    ));
    sleep(LEAD).await;
    let length = Duration::from_secs(1) * u32::try_from(count)? / RATE;
    let load = Load {
        pace: Pace::Open(RATE),
        ..Load::closed(16)
    };
    let script = Script::outcomes(&here.callback_path(), tasks);
    let window = Window::after(Duration::ZERO, length);
    let answered = answered(load.start(here.callbacks(), script, window).finish().await)?;
    for arrivals in [&waited, &streamed, &sink.arrivals] {
        arrivals.wait_for(answered.len()).await;
    }
    if let Some(ended) = consumers.try_join_next() {
        ended?.context("a consumer gave up")?;
    }
    Ok([&waited, &streamed, &sink.arrivals].map(|arrivals| arrivals.delays(&answered)))
}

/// Begins to wait for each task `LEAD` before its callback.
async fn wait_in_turn(
    endpoint: crate::connection::Endpoint,
    tasks: Arc<[TaskNumber]>,
    arrivals: Arrivals,
) -> anyhow::Result<()> {
    let begun = Instant::now();
    let mut waiting = JoinSet::new();
    for (number, &task) in (0_u32..).zip(tasks.iter()) {
        let at = begun + Duration::from_secs(1) * number / RATE;
        sleep_until(at.into()).await;
        waiting.spawn(wait(endpoint.clone(), task, WAIT_SECONDS, arrivals.clone()));
        while let Some(ended) = waiting.try_join_next() {
            ended??;
        }
    }
    while let Some(ended) = waiting.join_next().await {
        ended??;
    }
    std::future::pending().await
}

fn tell(round: usize, what: &str, heard: &Heard) {
    for (consumer, delays) in CONSUMERS.iter().zip(heard) {
        let values = &delays.after_answer;
        eprintln!(
            "  round {round}: {what}, {consumer}: p50 {:.2} p99 {:.2} max {:.2} ms, {} missing",
            permille(values, 500),
            permille(values, 990),
            permille(values, 1000),
            delays.missing
        );
    }
}

fn put(found: &mut Findings, what: &str, at_most: f64, rounds: &[Heard]) {
    for (number, consumer) in CONSUMERS.iter().enumerate() {
        let of = |thousandths: usize, values: fn(&Delays) -> &[f64]| {
            let delays: Vec<&Delays> = rounds.iter().map(|heard| &heard[number]).collect();
            let missing: usize = delays.iter().map(|delays| delays.missing).sum();
            if missing > 0 {
                return Err(format!("{missing} were not heard of"));
            }
            let values = delays
                .into_iter()
                .map(|delays| permille(values(delays), thousandths));
            Ok(Range::of(values.collect()))
        };
        let name = format!("callback answered → {consumer}, {what}, p99");
        found.goal(&name, AtMost(at_most), "ms", of(990, |d| &d.after_answer));
        found.goal("the same, p50", Beside, "ms", of(500, |d| &d.after_answer));
        found.goal(
            "the same, highest",
            Beside,
            "ms",
            of(1000, |d| &d.after_answer),
        );
        let due = "the same, p99 from when the callback was due";
        found.goal(due, Beside, "ms", of(990, |d| &d.after_due));
    }
}
