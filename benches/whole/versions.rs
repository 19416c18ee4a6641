//! Compares this build of the program with another, to see what a change costs or gains. Both run
//! all the time. Many short loads go to them in turns, so that other work of the machine affects
//! both.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use tokio::time::sleep_until;

use crate::Bench;
use crate::disk::Disk;
use crate::figures::Bound::Beside;
use crate::figures::{Findings, Range};
use crate::load::{Load, Window};
use crate::numbers::number;
use crate::process::exact_cpu_time;
use crate::report;
use crate::servers::{Place, Server};
use crate::targets::Target::{Receiver, ReceiverBefore};
use crate::targets::set_before;

const CONNECTIONS: [usize; 3] = [1, 64, 256];

const WARM_UP: Duration = Duration::from_millis(200);

const WINDOW: Duration = Duration::from_millis(800);

/// The results of one window.
struct Speed {
    per_second: f64,
    cpu_us: f64,
}

/// Prints the results and saves nothing, because the other build may be anything. A round is one
/// window of each build.
pub async fn compare(program: &Path, bench: &Bench) -> anyhow::Result<()> {
    let program = std::fs::canonicalize(program)
        .with_context(|| format!("no program {}", program.display()))?;
    ensure!(set_before(program), "one build of before");
    let mut findings = Findings::default();
    for count in CONNECTIONS {
        let cpus = bench.setting.server_cpus.as_deref();
        let before = Place::new(ReceiverBefore, Disk::FAST).await?;
        let before = before.start(cpus).await?;
        let after = Place::new(Receiver, Disk::FAST).await?;
        let after = after.start(cpus).await?;
        let (mut rates, mut costs) = (Vec::new(), Vec::new());
        for round in 0..bench.rounds {
            let (old, new) = if round % 2 == 0 {
                let old = measure(&before, count).await?;
                (old, measure(&after, count).await?)
            } else {
                let new = measure(&after, count).await?;
                (measure(&before, count).await?, new)
            };
            rates.push(new.per_second / old.per_second);
            costs.push(new.cpu_us / old.cpu_us);
            eprintln!(
                "  {count}: {:.0} and {:.0}/s, {:.1} and {:.1} µs",
                old.per_second, new.per_second, old.cpu_us, new.cpu_us
            );
        }
        let rate = format!("durable callbacks, {count} connections : before");
        findings.goal(&rate, Beside, "", Ok(Range::of(rates)));
        let cost = "the same, server CPU";
        findings.goal(cost, Beside, "", Ok(Range::of(costs)));
    }
    println!("\n{}", report::lines(&findings));
    Ok(())
}

async fn measure(server: &Server, connections: usize) -> anyhow::Result<Speed> {
    let window = Window::after(WARM_UP, WINDOW);
    let load = Load::closed(connections).start(server.callbacks(), server.new_tasks(), window);
    sleep_until(window.from.into()).await;
    let begun = exact_cpu_time(server.pid())?;
    sleep_until(window.until.into()).await;
    let spent = exact_cpu_time(server.pid())?.saturating_sub(begun);
    let outcome = load.finish().await;
    if let Some(failure) = outcome.first_failure {
        bail!("a callback failed: {failure}");
    }
    let counted = outcome.answered.iter().filter(|one| one.counts).count();
    Ok(Speed {
        per_second: number(counted) / window.length().as_secs_f64(),
        cpu_us: spent.as_secs_f64() * 1e6 / number(counted.max(1)),
    })
}
