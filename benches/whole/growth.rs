//! What a store costs once it holds ten million tasks, beside one that holds ten thousand; and how soon a receiver is ready
//! that finds a million tasks open.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use evolink_receiver::clock::Clock;
use evolink_receiver::domain::ids::TaskId;
use evolink_receiver::store::Store;
use evolink_receiver::store::reads::{TaskFilter, TaskName};

use crate::Bench;
use crate::disk::Disk;
use crate::figures::Bound::{AtMost, Beside};
use crate::figures::{Detail, Findings, Range};
use crate::fill::{self, Stand};
use crate::report::{milliseconds, short};
use crate::servers::Place;
use crate::targets::Target::Receiver;
use crate::trial::{Case, Sample};

const SMALL: i64 = 10_000;

const OPEN: i64 = 1_000_000;

/// Enough for a median; each is a few microseconds to a millisecond.
const QUESTIONS: u32 = 2000;

/// A page of the list as an app asks for it by default.
const PAGE: u32 = 50;

/// What the reconciler takes at once.
const DUE: u32 = 64;

/// What it costs to work with a store of one size.
struct Cost {
    callbacks: Sample,
    /// Medians in microseconds.
    keyed_read: f64,
    page: f64,
    due: f64,
}

pub async fn growth(bench: &Bench) -> anyhow::Result<Findings> {
    let large = filled(bench.large, Stand::Completed).await?;
    let (mut small_costs, mut large_costs) = (Vec::new(), Vec::new());
    for round in 1..=bench.rounds {
        let small = filled(SMALL, Stand::Completed).await?;
        small_costs.push(Cost::of(&small, SMALL, bench).await?);
        large_costs.push(Cost::of(&large, bench.large, bench).await?);
        for cost in [&small_costs[round - 1], &large_costs[round - 1]] {
            eprintln!(
                "  round {round}: {}; keyed read {:.1}, page {:.0}, due {:.1} µs",
                cost.callbacks, cost.keyed_read, cost.page, cost.due
            );
        }
    }
    let mut found = Findings::default();
    let mut ratio = |what: &str, of: fn(&Cost) -> f64| {
        let pairs = large_costs.iter().zip(&small_costs);
        let ratios = pairs.map(|(large, small)| of(large) / of(small)).collect();
        let what = format!(
            "{} million tasks stored : {SMALL}, {what}",
            bench.large / 1_000_000
        );
        found.goal(&what, AtMost(1.5), "", Ok(Range::of(ratios)));
    };
    ratio("time of a callback at full load", |cost| {
        1.0 / cost.callbacks.per_second
    });
    ratio("keyed read", |cost| cost.keyed_read);
    ratio("page of the list", |cost| cost.page);
    ratio("reconciler's look", |cost| cost.due);
    let bytes = file_bytes(large.path())? / as_number(large.last_seq);
    found.goal(
        "database bytes a task",
        Beside,
        "",
        Ok(Range::of(vec![bytes])),
    );
    for (name, costs) in [("small store", small_costs), ("large store", large_costs)] {
        let reads = Range::of(costs.iter().map(|cost| cost.keyed_read).collect());
        let pages = Range::of(costs.iter().map(|cost| cost.page).collect());
        let (reads, pages) = (short(reads.median), short(pages.median));
        found.note(format!(
            "{name}: a keyed read takes {reads} µs in the store, a page of {PAGE} {pages} µs."
        ));
        found.details.push(Detail {
            name: name.to_owned(),
            disk: Disk::FAST.to_string(),
            samples: costs.into_iter().map(|cost| cost.callbacks).collect(),
        });
    }
    drop(large);
    found.goals.extend(starts(bench).await?.goals);
    Ok(found)
}

async fn starts(bench: &Bench) -> anyhow::Result<Findings> {
    let place = filled(OPEN, Stand::Open).await?;
    let mut times = Vec::new();
    for _ in 0..bench.rounds {
        let server = place
            .clone()
            .start(bench.setting.server_cpus.as_deref())
            .await?;
        times.push(milliseconds(server.ready_after));
        server.stop().await?;
    }
    let mut found = Findings::default();
    let figure = Ok(Range::of(times));
    found.goal(
        "start to ready with a million open tasks",
        AtMost(1000.0),
        "ms",
        figure,
    );
    Ok(found)
}

/// On the real disk, since it may be larger than memory should hold; syncs are steady all the same.
async fn filled(count: i64, stand: Stand) -> anyhow::Result<Place> {
    let folder = Arc::new(Disk::Real.folder()?);
    let place = Place::in_folder(Receiver, Disk::FAST, folder, count);
    let started = Instant::now();
    fill::fill(&place.database(), count, stand).await?;
    if count > SMALL {
        eprintln!("  filled with {count} tasks in {:.0?}", started.elapsed());
    }
    Ok(place)
}

impl Cost {
    async fn of(place: &Place, count: i64, bench: &Bench) -> anyhow::Result<Self> {
        let case = Case::new("callbacks", Receiver, Disk::FAST, 256);
        let callbacks = case.run_in(place.clone(), &bench.setting).await?;
        let store = Store::open(&place.store_url()).await?;
        let mut keyed_read = Vec::new();
        let mut page = Vec::new();
        let mut due = Vec::new();
        for _ in 0..QUESTIONS {
            let id = TaskId::parse(&fill::task_id(fastrand::i64(1..=count))).expect("an id");
            let name = TaskName::Task(id);
            let start = Instant::now();
            let task = store.find_task(&name).await?;
            keyed_read.push(microseconds(start));
            anyhow::ensure!(task.is_some(), "a task of the filled store is not found");
        }
        for _ in 0..QUESTIONS / 10 {
            let start = Instant::now();
            let found = store.list_tasks(&TaskFilter::default(), PAGE).await?;
            page.push(microseconds(start));
            anyhow::ensure!(found.tasks.len() == PAGE as usize, "a page is full");
        }
        for _ in 0..QUESTIONS {
            let start = Instant::now();
            store.list_due(Clock::System.now(), DUE).await?;
            due.push(microseconds(start));
        }
        store.close().await;
        Ok(Self {
            callbacks,
            keyed_read: Range::of(keyed_read).median,
            page: Range::of(page).median,
            due: Range::of(due).median,
        })
    }
}

fn microseconds(since: Instant) -> f64 {
    milliseconds(since.elapsed()) * 1e3
}

fn file_bytes(folder: &Path) -> anyhow::Result<f64> {
    let mut bytes = 0;
    for name in ["receiver.db", "receiver.db-wal"] {
        bytes += std::fs::metadata(folder.join(name)).map_or(0, |file| file.len());
    }
    Ok(as_number(i64::try_from(bytes)?))
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a file of less than eight petabytes"
)]
const fn as_number(count: i64) -> f64 {
    count as f64
}
