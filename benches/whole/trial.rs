//! One trial: runs a program on one disk under one load, measures it from outside, and afterwards
//! checks that what it acknowledged is stored.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use tokio::time::sleep_until;

use crate::baselines::BARE_PATH;
use crate::callback::{Script, TaskNumber};
use crate::check;
use crate::disk::Disk;
use crate::load::{Answered, Load, Outcome, Window};
use crate::numbers::{milliseconds, number};
use crate::process::{cpu_time, memory};
use crate::servers::{Place, Server};
use crate::targets::Target;

/// The length of each trial, and the processors of its server.
#[derive(Clone, Debug)]
pub struct Setting {
    pub warm_up: Duration,
    pub window: Duration,
    pub server_cpus: Option<String>,
}

/// The kind of requests that are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    New,
    /// Callbacks that were sent before.
    Again,
    /// Callbacks with an invalid token.
    Guesses {
        with_body: bool,
    },
    /// Requests to the path of A that does nothing at all.
    Bare {
        with_body: bool,
    },
}

/// The definition of a trial.
#[derive(Clone, Debug)]
pub struct Case {
    /// The name in the tables and the comparisons.
    pub name: &'static str,
    pub target: Target,
    pub disk: Disk,
    pub work: Work,
    pub load: Load,
    /// Apps that query tasks at the same time, each one query after the other.
    pub readers: usize,
}

/// The results of a trial. Times in milliseconds, memory in MiB.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Sample {
    pub per_second: f64,
    pub p50: f64,
    pub p99: f64,
    pub p999: f64,
    pub max: f64,
    pub failures: usize,
    pub first_failure: Option<String>,
    pub server_cpu_us: f64,
    /// Processors that the load itself kept busy.
    pub client_cpus: f64,
    pub memory_idle: f64,
    pub memory_peak: f64,
    pub ready_after: f64,
    pub rows_per_commit: Option<f64>,
    pub commit_mean: Option<f64>,
    pub reads_per_second: Option<f64>,
    pub reads_p99: Option<f64>,
}

impl Case {
    pub const fn new(name: &'static str, target: Target, disk: Disk, connections: usize) -> Self {
        Self {
            name,
            target,
            disk,
            work: Work::New,
            load: Load::closed(connections),
            readers: 0,
        }
    }

    pub async fn run(&self, setting: &Setting) -> anyhow::Result<Sample> {
        let place = Place::new(self.target, self.disk).await?;
        self.run_in(place, setting)
            .await
            .with_context(|| format!("{} ({})", self.name, self.disk))
    }

    /// Runs the trial in a place that may have a store already.
    pub async fn run_in(&self, place: Place, setting: &Setting) -> anyhow::Result<Sample> {
        let server = place.start(setting.server_cpus.as_deref()).await?;
        let memory_idle = memory(server.pid())?.now;
        let mut told = Vec::new();
        if self.work == Work::Again || self.readers > 0 {
            told = tell(&server, setting.window).await?;
        }
        let known: Arc<[TaskNumber]> = told.as_slice().into();
        let script = match self.work {
            Work::New => server.new_tasks(),
            Work::Again => Script::again(&server.callback_path(), Arc::clone(&known)),
            Work::Guesses { with_body } => Script::guesses(&server.wrong_path(), with_body),
            Work::Bare { with_body } => Script::guesses(BARE_PATH, with_body),
        };
        let window = Window::after(setting.warm_up, setting.window);
        let load = self.load.start(server.callbacks(), script, window);
        let readers = match self.readers {
            0 => None,
            count => {
                let questions = Script::questions(known);
                Some(Load::closed(count).start(server.internal()?, questions, window))
            }
        };
        sleep_until(window.from.into()).await;
        let before = Meter::read(&server).await?;
        sleep_until(window.until.into()).await;
        let after = Meter::read(&server).await?;
        let outcome = load.finish().await;
        let read = match readers {
            Some(readers) => Some(readers.finish().await),
            None => None,
        };
        let memory_peak = memory(server.pid())?.peak;
        let ready_after = milliseconds(server.ready_after);
        let place = server.stop().await?;
        if self.target.is_durable() && matches!(self.work, Work::New | Work::Again) {
            told.extend(outcome.answered.iter().filter_map(|answered| answered.task));
            check::all_are_stored(&place, told).await?;
        }
        let mut sample = Sample::of(&outcome, window, read.as_ref());
        sample.fill_in(&before, &after, window);
        Ok(Sample {
            memory_idle,
            memory_peak,
            ready_after,
            ..sample
        })
    }
}

/// Sends the server some tasks before the trial begins.
async fn tell(server: &Server, for_so_long: Duration) -> anyhow::Result<Vec<TaskNumber>> {
    let window = Window::after(Duration::ZERO, for_so_long);
    let load = Load::closed(256).start(server.callbacks(), server.new_tasks(), window);
    let outcome = load.finish().await;
    if let Some(failure) = outcome.first_failure {
        anyhow::bail!("could not tell of tasks: {failure}");
    }
    let tasks = outcome.answered.iter().filter_map(|answered| answered.task);
    Ok(tasks.collect())
}

impl Sample {
    fn of(outcome: &Outcome, window: Window, read: Option<&Outcome>) -> Self {
        let latencies = latencies(&outcome.answered);
        let failed = |outcome: &Outcome| outcome.first_failure.clone();
        Self {
            per_second: number(latencies.len()) / window.length().as_secs_f64(),
            p50: permille(&latencies, 500),
            p99: permille(&latencies, 990),
            p999: permille(&latencies, 999),
            max: permille(&latencies, 1000),
            failures: outcome.failures + read.map_or(0, |read| read.failures),
            first_failure: failed(outcome).or_else(|| read.and_then(failed)),
            server_cpu_us: f64::NAN,
            client_cpus: f64::NAN,
            memory_idle: f64::NAN,
            memory_peak: f64::NAN,
            ready_after: f64::NAN,
            rows_per_commit: None,
            commit_mean: None,
            reads_per_second: read
                .map(|read| number(counted(read)) / window.length().as_secs_f64()),
            reads_p99: read.map(|read| permille(&self::latencies(&read.answered), 990)),
        }
    }

    fn fill_in(&mut self, before: &Meter, after: &Meter, window: Window) {
        let seconds = window.length().as_secs_f64();
        let server = after
            .server_cpu
            .saturating_sub(before.server_cpu)
            .as_secs_f64();
        self.server_cpu_us = server * 1e6 / (self.per_second * seconds).max(1.0);
        let own = after.own_cpu.saturating_sub(before.own_cpu).as_secs_f64();
        self.client_cpus = own / seconds;
        let grown = |name: &str| Some(after.metric(name)? - before.metric(name)?);
        let commits = grown("evolink_receiver_recorder_batches_total");
        let entries = grown("evolink_receiver_recorder_entries_total");
        self.rows_per_commit = entries
            .zip(commits)
            .map(|(entries, commits)| entries / commits);
        let sum = grown("evolink_receiver_recorder_commit_seconds_sum");
        let count = grown("evolink_receiver_recorder_commit_seconds_count");
        self.commit_mean = sum.zip(count).map(|(sum, count)| sum * 1e3 / count);
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:.0}/s, p50 {:.2} p99 {:.2} max {:.1} ms, server {:.1} µs, load {:.2} cpus",
            self.per_second, self.p50, self.p99, self.max, self.server_cpu_us, self.client_cpus
        )?;
        match &self.first_failure {
            Some(failure) => write!(f, ", {} FAILED: {failure}", self.failures),
            None => Ok(()),
        }
    }
}

/// The values that are read at both ends of the window.
struct Meter {
    server_cpu: Duration,
    own_cpu: Duration,
    metrics: HashMap<String, f64>,
}

impl Meter {
    async fn read(server: &Server) -> anyhow::Result<Self> {
        let text = match server.internal() {
            Ok(internal) => internal.get("/metrics").await?.1,
            Err(_) => String::new(),
        };
        let lines = text.lines().filter_map(|line| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        });
        Ok(Self {
            server_cpu: cpu_time(server.pid())?,
            own_cpu: cpu_time(std::process::id())?,
            metrics: lines.collect(),
        })
    }

    fn metric(&self, name: &str) -> Option<f64> {
        self.metrics.get(name).copied()
    }
}

fn counted(outcome: &Outcome) -> usize {
    outcome.answered.iter().filter(|one| one.counts).count()
}

/// Returns the latencies of the requests that count, sorted.
fn latencies(answered: &[Answered]) -> Vec<u32> {
    let counted = answered.iter().filter(|one| one.counts);
    let mut latencies: Vec<u32> = counted.map(|one| one.latency_us).collect();
    latencies.sort_unstable();
    latencies
}

/// Returns the latency that the given thousandths of the requests do not exceed, in milliseconds.
/// Returns 0 if there are none; the recorded failures explain why.
fn permille(latencies: &[u32], thousandths: usize) -> f64 {
    let at = (latencies.len() * thousandths).div_ceil(1000);
    let latency = latencies.get(at.saturating_sub(1));
    latency.map_or(0.0, |&us| f64::from(us) / 1e3)
}
