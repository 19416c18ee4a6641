//! Measures how long a callback takes at half of the receiver's full load, relative to the commit
//! that it waits for.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::ensure;

use crate::Bench;
use crate::disk::Disk;
use crate::figures::Bound::{AtMost, Beside};
use crate::figures::{Detail, Figure, Findings, Range};
use crate::fill;
use crate::load::{Load, Pace};
use crate::numbers::milliseconds;
use crate::targets::Target::Receiver;
use crate::trial::{Case, Sample};

const CONNECTIONS: usize = 256;

const COMMITS: i64 = 500;

/// The time that a callback may need in addition to the disk, in milliseconds.
const ALLOWANCE: f64 = 2.0;

pub async fn half_load(bench: &Bench) -> anyhow::Result<Findings> {
    let full = Case::new("at full load", Receiver, Disk::FAST, CONNECTIONS);
    let (mut fulls, mut halves, mut commits) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=bench.rounds {
        let sample = full.run(&bench.setting).await?;
        eprintln!("  round {round}: at full load: {sample}");
        let mut half = full.clone();
        half.name = "at half load";
        half.load = Load {
            pace: Pace::Open(whole(sample.per_second / 2.0)),
            ..half.load
        };
        fulls.push(sample);
        let sample = half.run(&bench.setting).await?;
        eprintln!("  round {round}: at half load: {sample}");
        let rows = sample.rows_per_commit;
        halves.push(sample);
        if let Some(rows) = rows {
            commits.push(commit_p99(Disk::FAST, whole(rows).max(1))?);
        }
    }
    let mut found = Findings::default();
    let against_commit = |calculate: fn(f64, f64) -> f64| {
        let pairs = halves.iter().zip(&commits);
        let values = pairs.map(|(half, &commit)| calculate(half.p99, commit));
        figure(&halves, values.collect())
    };
    found.goal(
        "p99 at half load : 3 × p99 of a synced commit of that size + 2 ms",
        AtMost(1.0),
        "",
        against_commit(|half, commit| half / (3.0 * commit + ALLOWANCE)),
    );
    let p99 = figure(&halves, halves.iter().map(|half| half.p99).collect());
    found.goal("p99 at half load", Beside, "ms", p99);
    let commit = against_commit(|_, commit| commit);
    found.goal("p99 of a synced commit of that size", Beside, "ms", commit);
    for (name, samples) in [("at full load", fulls), ("at half load", halves)] {
        found.details.push(Detail {
            name: name.to_owned(),
            disk: Disk::FAST.to_string(),
            samples,
        });
    }
    Ok(found)
}

fn figure(halves: &[Sample], values: Vec<f64>) -> Figure {
    if let Some(failure) = halves.iter().find_map(|half| half.first_failure.clone()) {
        return Err(failure);
    }
    if values.len() < halves.len() {
        return Err("the receiver does not tell how large its commits are".to_owned());
    }
    Ok(Range::of(values))
}

/// Measures commits, and returns the 99th percentile in milliseconds. Runs in a process of its own,
/// because a steady disk applies to a whole process.
fn commit_p99(disk: Disk, tasks: u32) -> anyhow::Result<f64> {
    let folder = disk.folder()?;
    let mut command = Command::new(std::env::current_exe()?);
    command
        .arg("commits")
        .arg(folder.path())
        .arg(tasks.to_string());
    disk.apply_to(&mut command);
    let output = command.output()?;
    ensure!(
        output.status.success(),
        "the commits of {tasks} tasks failed"
    );
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Returns the 99th percentile of transactions that each add `tasks` tasks with all their rows.
pub async fn time_commits(folder: &Path, tasks: i64) -> anyhow::Result<f64> {
    let mut connection = fill::open(&folder.join("commits.db")).await?;
    let mut times = Vec::new();
    for nth in 0..COMMITS {
        let start = Instant::now();
        fill::add(&mut connection, 1 + nth * tasks, tasks).await?;
        times.push(milliseconds(start.elapsed()));
    }
    times.sort_unstable_by(f64::total_cmp);
    Ok(times[times.len() * 99 / 100])
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "rates and batches are positive and far below the bound of a u32"
)]
fn whole(value: f64) -> u32 {
    value.round() as u32
}
