//! What the system knows of a process: processor time and memory.

use std::time::Duration;

use anyhow::Context as _;

/// Linux tells processes' times in hundredths of a second, on every architecture.
const TICK: Duration = Duration::from_millis(10);

/// Memory in MiB.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    pub now: f64,
    pub peak: f64,
}

/// User and system time so far, of all its threads.
pub fn cpu_time(pid: u32) -> anyhow::Result<Duration> {
    let stat = read(pid, "stat")?;
    // The second field is a name in brackets, which may hold anything.
    let (_, fields) = stat.rsplit_once(") ").context("no name in stat")?;
    let mut fields = fields.split(' ').skip(11);
    let mut ticks = 0;
    for field in fields.by_ref().take(2) {
        ticks += field.parse::<u32>()?;
    }
    Ok(TICK * ticks)
}

/// The same to the nanosecond, of the threads that it has now.
pub fn exact_cpu_time(pid: u32) -> anyhow::Result<Duration> {
    let mut nanos = 0;
    for thread in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let path = thread?.path().join("schedstat");
        let stat = std::fs::read_to_string(path).unwrap_or_default();
        let first = stat.split(' ').next().unwrap_or_default();
        nanos += first.parse::<u64>().unwrap_or_default();
    }
    Ok(Duration::from_nanos(nanos))
}

pub fn memory(pid: u32) -> anyhow::Result<Memory> {
    let status = read(pid, "status")?;
    let mib = |name: &str| -> anyhow::Result<f64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let line = line.with_context(|| format!("no {name} in status"))?;
        let kib = line.trim().trim_end_matches(" kB");
        Ok(kib.parse::<f64>()? / 1024.0)
    };
    Ok(Memory {
        now: mib("VmRSS:")?,
        peak: mib("VmHWM:")?,
    })
}

fn read(pid: u32, file: &str) -> anyhow::Result<String> {
    let path = format!("/proc/{pid}/{file}");
    std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))
}
