//! The processor time and memory of a process, as the system reports them.

use std::time::Duration;

use anyhow::Context as _;

/// The unit in which Linux reports processor time, on every architecture.
const TICK: Duration = Duration::from_millis(10);

/// The memory of a process, in MiB.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    pub now: f64,
    pub peak: f64,
}

/// Returns the user and system time of all its threads so far.
pub fn cpu_time(pid: u32) -> anyhow::Result<Duration> {
    let stat = read(pid, "stat")?;
    // The second field is a name in parentheses, which may contain anything.
    let (_, fields) = stat.rsplit_once(") ").context("no name in stat")?;
    let mut fields = fields.split(' ').skip(11);
    let mut ticks = 0;
    for field in fields.by_ref().take(2) {
        ticks += field.parse::<u32>()?;
    }
    Ok(TICK * ticks)
}

/// Returns the same to the nanosecond, but only for the threads that exist now.
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
