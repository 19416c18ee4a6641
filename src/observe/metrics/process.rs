//! The metrics of the process as the system sees it, under the names that Prometheus' own client
//! libraries give them. They are read from `/proc` at each scrape; without `/proc` there are none.

use std::fmt;
use std::fs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use rustix::process::{Resource, getrlimit};

/// Linux shows times of processes in hundredths of a second, whatever its timer does.
const TICKS_PER_SECOND: f64 = 100.0;

/// Reads the metrics at each scrape.
#[derive(Debug)]
pub struct Process;

/// Name, help text and value of a gauge.
type Reading = (&'static str, &'static str, f64);

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let Some((cpu_seconds, gauges)) = read() else {
            return Ok(());
        };
        let counter = ConstCounter::new(cpu_seconds);
        let help = "CPU time of this process, in user and system mode";
        let kind = counter.metric_type();
        counter.encode(encoder.encode_descriptor("process_cpu_seconds", help, None, kind)?)?;
        for (name, help, value) in gauges {
            let gauge = ConstGauge::new(value);
            let kind = gauge.metric_type();
            gauge.encode(encoder.encode_descriptor(name, help, None, kind)?)?;
        }
        Ok(())
    }
}

fn read() -> Option<(f64, [Reading; 6])> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is the name of the program, in brackets, and may contain anything.
    let (_, fields) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = fields.split(' ').collect();
    // Fields are counted from 1, and the first one here is the third.
    let field = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
    let (user, system, started) = (field(14)?, field(15)?, field(22)?);
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let boot = number_after(&fs::read_to_string("/proc/stat").ok()?, "btime ")?;
    // The folder that is read is open, too.
    let open = fs::read_dir("/proc/self/fd")
        .ok()?
        .count()
        .saturating_sub(1);
    let limit = getrlimit(Resource::Nofile).current;
    let kib = |name: &str| Some(number_after(&status, name)? * 1024.0);
    Some((
        (user + system) / TICKS_PER_SECOND,
        [
            (
                "process_start_time_seconds",
                "When this process was started, in seconds since 1970",
                boot + started / TICKS_PER_SECOND,
            ),
            (
                "process_resident_memory_bytes",
                "Memory of this process that is in RAM",
                kib("VmRSS:")?,
            ),
            (
                "process_virtual_memory_bytes",
                "Address space of this process",
                kib("VmSize:")?,
            ),
            (
                "process_threads",
                "Threads of this process",
                number_after(&status, "Threads:")?,
            ),
            (
                "process_open_fds",
                "File descriptors that are open",
                count(open),
            ),
            (
                "process_max_fds",
                "File descriptors that may be open",
                limit.map_or(f64::INFINITY, |limit| {
                    count(usize::try_from(limit).unwrap_or(usize::MAX))
                }),
            ),
        ],
    ))
}

#[expect(clippy::cast_precision_loss, reason = "nobody counts 2^53 descriptors")]
const fn count(number: usize) -> f64 {
    number as f64
}

/// The number after `name` at the beginning of a line.
fn number_after(text: &str, name: &str) -> Option<f64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}
