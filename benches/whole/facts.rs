//! The circumstances of a measurement, without which its figures mean nothing.

use std::fs;
use std::time::Duration;

use anyhow::Context as _;
use evolink_receiver::clock::Clock;
use serde::{Deserialize, Serialize};

use crate::Bench;
use crate::disk::Disk;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Facts {
    pub machine: String,
    /// The load before: processes that ran or waited, as the mean of the last minute.
    pub busy_before: String,
    pub command: String,
    pub commit: String,
    pub date: String,
    pub rounds: usize,
    pub window: Duration,
    /// For each disk, the median and 99th percentile of a sync, in milliseconds.
    pub syncs: Vec<(String, f64, f64)>,
}

impl Facts {
    pub fn gather(bench: &Bench) -> anyhow::Result<Self> {
        let busy = fs::read_to_string("/proc/loadavg")?;
        let mut syncs = Vec::new();
        for disk in [Disk::Real, Disk::FAST, Disk::MIDDLING, Disk::CLOUD] {
            let (median, p99) = disk.probe()?;
            syncs.push((disk.to_string(), median, p99));
        }
        let date = Clock::System.now().to_string();
        Ok(Self {
            machine: machine()?,
            busy_before: busy.split(' ').next().unwrap_or_default().to_owned(),
            command: command(),
            commit: env!("EVOLINK_RECEIVER_COMMIT").to_owned(),
            date: date.get(..10).unwrap_or(&date).to_owned(),
            rounds: bench.rounds,
            window: bench.setting.window,
            syncs,
        })
    }
}

fn machine() -> anyhow::Result<String> {
    let about = fs::read_to_string("/proc/cpuinfo")?;
    // Count all processors, even if the load is kept on some of them.
    let cores = about
        .lines()
        .filter(|line| line.starts_with("processor"))
        .count();
    let model = about
        .lines()
        .find_map(|line| line.strip_prefix("model name"));
    let model = model.map_or("CPU unknown", |rest| {
        rest.trim_start_matches([' ', '\t', ':'])
    });
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").context("no kernel")?;
    Ok(format!("{cores} cores, {model}, Linux {}", kernel.trim()))
}

/// Returns the command as a person would type it.
fn command() -> String {
    let words = std::env::args().skip(1);
    let own: Vec<String> = words
        .filter(|word| word != "--bench" && word != "--inside")
        .collect();
    if own.is_empty() {
        return "cargo bench --bench whole".to_owned();
    }
    format!("cargo bench --bench whole -- {}", own.join(" "))
}
