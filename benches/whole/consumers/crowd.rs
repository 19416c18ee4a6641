//! Ten thousand waiters and a thousand readers of streams: what each costs, and how much all of
//! them slow callbacks down.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::arrivals::{Arrivals, permille};
use super::stream::{Read, Stream};
use super::waiter::wait;
use super::{CONNECTIONS, answered, begin_tasks};
use crate::Bench;
use crate::callback::{Script, TaskNumber};
use crate::disk::Disk;
use crate::figures::Bound::{AtLeast, Beside};
use crate::figures::{Findings, Range};
use crate::load::{Load, Pace, Window};
use crate::numbers::number;
use crate::process::{exact_cpu_time, memory};
use crate::servers::{Place, Server};
use crate::targets::Target::Receiver;

const WAITERS: usize = 10_000;
const READERS: usize = 1000;

/// Three quarters of these may be waiters or streams. Together with the public listener's
/// connections, as many as 20,000 descriptors allow.
const INTERNAL_CONNECTIONS: usize = 15_800;

/// Callbacks a second that readers of the whole log can keep up with here. Each is a thousand
/// messages.
const RATE: u32 = 100;

/// Outcomes that some of the waiters wait for.
const WOKEN: usize = 1000;

/// The results of one round, by name.
type Row = Vec<(&'static str, f64)>;

/// The speed of callbacks while a crowd is connected.
struct Speed {
    per_second: f64,
    p99: f64,
    /// Processors that the server kept busy.
    cpus: f64,
}

impl Speed {
    /// Returns the server's processor time for each callback, including its other work at that
    /// time.
    fn cost(&self) -> f64 {
        self.cpus / self.per_second
    }
}

type Crowd = JoinSet<anyhow::Result<()>>;

pub async fn crowd(bench: &Bench) -> anyhow::Result<Findings> {
    raise_descriptors();
    let mut rows = Vec::new();
    for round in 1..=bench.rounds {
        let row = run(bench).await?;
        for (name, value) in &row {
            eprintln!("  round {round}: {name}: {value:.3}");
        }
        rows.push(row);
    }
    let mut found = Findings::default();
    for (at, (name, _)) in rows[0].iter().enumerate() {
        let (bound, unit) = match *name {
            name if name.contains(" : ") => (AtLeast(0.9), ""),
            name if name.contains("memory") => (Beside, "KiB"),
            name if name.contains("p99") => (Beside, "ms"),
            _ => (Beside, ""),
        };
        let values = rows.iter().map(|row| row[at].1).collect();
        found.goal(name, bound, unit, Ok(Range::of(values)));
    }
    found.note(format!(
        "crowd: {WAITERS} queries that wait and {READERS} streams on one instance with {INTERNAL_CONNECTIONS} internal connections, callbacks on \
         {CONNECTIONS} connections. Crowds and their absence in turns on the same process; memory is the growth of its resident set, connections \
         included."
    ));
    Ok(found)
}

/// Raises the limit of descriptors as far as allowed. The receiver does so itself.
fn raise_descriptors() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let all = Rlimit {
        current: maximum,
        maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, all) {
        eprintln!("  descriptors stay as they are: {error}");
    }
}

async fn start(bench: &Bench) -> anyhow::Result<Server> {
    let mut place = Place::new(Receiver, Disk::FAST).await?;
    place.settings.internal_connections = INTERNAL_CONNECTIONS;
    place.start(bench.setting.server_cpus.as_deref()).await
}

async fn run(bench: &Bench) -> anyhow::Result<Row> {
    let server = start(bench).await?;
    let tasks = begin_tasks(&server, WAITERS).await?;
    let mut row = Row::new();
    let closed = Load::closed(CONNECTIONS);
    let first = speed(bench, &server, closed).await?;

    let before = memory(server.pid())?.now;
    let heard = Arrivals::default();
    let mut waiters = wait_for_all(&server, &tasks, &heard).await?;
    let waiting = memory(server.pid())?.now;
    row.push((
        "memory of a waiting query",
        (waiting - before) * 1024.0 / number(WAITERS),
    ));
    let beside_waiters = speed(bench, &server, closed).await?;

    let waiting = memory(server.pid())?.now;
    let read = Read::default();
    let mut readers = open_all(&server, &read, |number| {
        format!("?task={}", tasks[number + WOKEN].id())
    })
    .await?;
    let reading = memory(server.pid())?.now;
    row.push((
        "memory of a stream of one task",
        (reading - waiting) * 1024.0 / number(READERS),
    ));
    let beside_both = speed(bench, &server, closed).await?;
    row.push((
        "p99 from answer to waiting query, in the crowd",
        wake(&server, &tasks, &heard).await?,
    ));
    all_are_there(&mut waiters)?;
    all_are_there(&mut readers)?;
    drop((waiters, readers));

    let last = speed(bench, &server, closed).await?;
    let alone = f64::midpoint(first.per_second, last.per_second);
    let cost = f64::midpoint(first.cost(), last.cost());
    row.push(("callbacks a second alone", alone));
    row.push((
        "callbacks beside 10,000 waiting queries : alone",
        beside_waiters.per_second / alone,
    ));
    row.push((
        "the same, processor time of the receiver a callback, waiting queries",
        beside_waiters.cost() / cost,
    ));
    row.push((
        "callbacks beside 10,000 waiting queries and 1,000 streams of one task : alone",
        beside_both.per_second / alone,
    ));
    row.push((
        "the same, processor time of the receiver a callback",
        beside_both.cost() / cost,
    ));
    server.stop().await?;
    whole_log(bench, &mut row).await?;
    Ok(row)
}

/// Measures readers of the whole log. Uses a process of its own, because memory left from another
/// crowd would hide what these readers take.
async fn whole_log(bench: &Bench, row: &mut Row) -> anyhow::Result<()> {
    let server = start(bench).await?;
    let server = &server;
    let open = Load {
        pace: Pace::Open(RATE),
        ..Load::closed(16)
    };
    let alone = speed(bench, server, open).await?;
    let before = memory(server.pid())?.now;
    let read = Read::default();
    let mut readers = open_all(server, &read, |_| String::new()).await?;
    let opened = memory(server.pid())?.now;
    row.push((
        "memory of a stream of the whole log",
        (opened - before) * 1024.0 / number(READERS),
    ));
    let events = read.events.load(Ordering::Relaxed);
    let beside = speed(bench, server, open).await?;
    let length = (bench.setting.warm_up + bench.setting.window).as_secs_f64();
    let events = number(read.events.load(Ordering::Relaxed) - events) / length;
    row.push(("100 callbacks a second alone, p99", alone.p99));
    row.push((
        "the same beside 1,000 streams of the whole log, p99",
        beside.p99,
    ));
    row.push(("events a second that the streams got, all together", events));
    row.push(("processors of the receiver, alone", alone.cpus));
    row.push(("processors of the receiver, beside them", beside.cpus));
    let events = read.events.load(Ordering::Relaxed);
    let full = speed(bench, server, Load::closed(CONNECTIONS)).await?;
    let events = number(read.events.load(Ordering::Relaxed) - events) / length;
    row.push((
        "callbacks a second at full load beside 1,000 streams of the whole log",
        full.per_second,
    ));
    row.push(("events a second that the streams got then", events));
    let full = memory(server.pid())?.now;
    row.push((
        "memory of a stream of the whole log at full load",
        (full - before) * 1024.0 / number(READERS),
    ));
    all_are_there(&mut readers)
}

/// Starts the waiters gradually, because they would not all be accepted in time.
async fn wait_for_all(
    server: &Server,
    tasks: &Arc<[TaskNumber]>,
    heard: &Arrivals,
) -> anyhow::Result<Crowd> {
    let mut crowd = JoinSet::new();
    for (number, &task) in tasks.iter().enumerate() {
        // The waits end at different times, so that they are not all renewed in the same second.
        let seconds = 40 + number as u64 % 20;
        crowd.spawn(wait(
            server.internal()?.clone(),
            task,
            seconds,
            heard.clone(),
        ));
        if number % 100 == 0 {
            sleep(Duration::from_millis(20)).await;
        }
    }
    sleep(Duration::from_secs(1)).await;
    all_are_there(&mut crowd)?;
    Ok(crowd)
}

async fn open_all(
    server: &Server,
    read: &Read,
    query: impl Fn(usize) -> String,
) -> anyhow::Result<Crowd> {
    let mut crowd = JoinSet::new();
    for number in 0..READERS {
        let stream = Stream::open(server.internal()?, &query(number)).await?;
        crowd.spawn(stream.count(read.clone()));
    }
    sleep(Duration::from_secs(1)).await;
    all_are_there(&mut crowd)?;
    Ok(crowd)
}

/// Checks that no consumer has failed. Some may have received what they wait for.
fn all_are_there(crowd: &mut Crowd) -> anyhow::Result<()> {
    while let Some(ended) = crowd.try_join_next() {
        ended?.context("one of the crowd")?;
    }
    Ok(())
}

/// Ends some of the tasks that waiters wait for.
async fn wake(server: &Server, tasks: &Arc<[TaskNumber]>, heard: &Arrivals) -> anyhow::Result<f64> {
    let load = Load {
        pace: Pace::Open(RATE),
        ..Load::closed(16)
    };
    let length = Duration::from_secs(1) * u32::try_from(WOKEN)? / RATE;
    let script = Script::outcomes(&server.callback_path(), tasks[..WOKEN].into());
    let window = Window::after(Duration::ZERO, length);
    let answered = answered(
        load.start(server.callbacks(), script, window)
            .finish()
            .await,
    )?;
    heard.wait_for(answered.len()).await;
    let delays = heard.delays(&answered);
    anyhow::ensure!(delays.missing == 0, "{} were not woken", delays.missing);
    Ok(permille(&delays.after_answer, 990))
}

async fn speed(bench: &Bench, server: &Server, load: Load) -> anyhow::Result<Speed> {
    let window = Window::after(bench.setting.warm_up, bench.setting.window);
    let running = load.start(server.callbacks(), server.new_tasks(), window);
    sleep(bench.setting.warm_up).await;
    let begun = exact_cpu_time(server.pid())?;
    sleep(bench.setting.window).await;
    let spent = exact_cpu_time(server.pid())?.saturating_sub(begun);
    let answered = answered(running.finish().await)?;
    let counted = answered.iter().filter(|one| one.counts);
    let mut latencies: Vec<f64> = counted.map(|one| f64::from(one.latency_us) / 1e3).collect();
    latencies.sort_unstable_by(f64::total_cmp);
    Ok(Speed {
        per_second: number(latencies.len()) / bench.setting.window.as_secs_f64(),
        p99: permille(&latencies, 990),
        cpus: spent.as_secs_f64() / bench.setting.window.as_secs_f64(),
    })
}
