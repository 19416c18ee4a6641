//! Webhook endpoints: what bad ones cost the good ones, and what all of them cost callbacks.

use std::time::Duration;

use super::answered;
use super::arrivals::permille;
use super::sink::{Manner, Sink, tables};
use crate::Bench;
use crate::disk::Disk;
use crate::figures::Bound::{AtMost, Beside};
use crate::figures::{Findings, Range, Rounds};
use crate::load::{Load, Pace, Window};
use crate::servers::Place;
use crate::targets::Target::Receiver;
use crate::trial::{Case, Sample};

const ENDPOINTS: usize = 20;

/// Callbacks a second. Each causes one delivery to every endpoint.
const RATE: u32 = 50;

const CONNECTIONS: usize = 64;

/// The results of one run: 99th percentiles, in milliseconds.
struct Soon {
    callbacks: f64,
    deliveries: f64,
    missing: usize,
}

/// Compares twenty good endpoints with fifteen good and five bad ones.
pub async fn endpoints(bench: &Bench) -> anyhow::Result<Findings> {
    let (mut good, mut mixed) = (Vec::new(), Vec::new());
    for round in 1..=bench.rounds {
        for (name, bad, samples) in [
            ("all good", &[][..], &mut good),
            ("five bad", &Manner::BAD[..], &mut mixed),
        ] {
            let soon = with_bad(bench, bad).await?;
            eprintln!(
                "  round {round}: {name}: p99 of callbacks {:.2}, of deliveries {:.2} ms, {} missing",
                soon.callbacks, soon.deliveries, soon.missing
            );
            samples.push(soon);
        }
    }
    let mut found = Findings::default();
    for (name, samples) in [("all good", &good), ("five bad", &mixed)] {
        let missing: usize = samples.iter().map(|soon| soon.missing).sum();
        let p99 = |value: fn(&Soon) -> f64| match missing {
            0 => Ok(Range::of(samples.iter().map(value).collect())),
            _ => Err(format!("{missing} deliveries did not come")),
        };
        let what = format!("20 endpoints, {name}: p99 of a delivery to a good one");
        found.goal(&what, Beside, "ms", p99(|soon| soon.deliveries));
        found.goal(
            "the same, p99 of a callback",
            Beside,
            "ms",
            p99(|soon| soon.callbacks),
        );
    }
    let pairs = || mixed.iter().zip(&good);
    let ratio = |value: fn(&Soon) -> f64| {
        let ratios = pairs().map(|(mixed, good)| value(mixed) / value(good));
        Ok(Range::of(ratios.collect()))
    };
    let what = "five bad of 20 endpoints : none, p99 of a delivery to a good one";
    found.goal(what, AtMost(1.5), "", ratio(|soon| soon.deliveries));
    let what = "the same, p99 of a callback";
    found.goal(what, AtMost(1.5), "", ratio(|soon| soon.callbacks));
    found.note(format!(
        "endpoints: {RATE} callbacks a second in an open loop, of new tasks that have ended; deliveries count from the callback's answer. \
         Bad ones never answer, drip, answer without end, redirect, or are gone."
    ));
    Ok(found)
}

async fn with_bad(bench: &Bench, bad: &[Manner]) -> anyhow::Result<Soon> {
    let mut sinks = Vec::new();
    for number in 0..ENDPOINTS {
        let manner = bad.get(number).copied().unwrap_or(Manner::TakesIt);
        sinks.push(Sink::open(manner).await?);
    }
    let mut place = Place::new(Receiver, Disk::FAST).await?;
    place.settings.tables = tables(&sinks, place.path())?;
    let server = place.start(bench.setting.server_cpus.as_deref()).await?;
    let load = Load {
        pace: Pace::Open(RATE),
        ..Load::closed(16)
    };
    let window = Window::after(bench.setting.warm_up, bench.setting.window * 2);
    let load = load.start(server.callbacks(), server.new_tasks(), window);
    let answered = answered(load.finish().await)?;
    let mut soon = Soon {
        callbacks: f64::NAN,
        deliveries: f64::NAN,
        missing: 0,
    };
    let mut delays = Vec::new();
    for sink in &sinks[bad.len()..] {
        sink.arrivals.wait_for(answered.len()).await;
        let of_sink = sink.arrivals.delays(&answered);
        soon.missing += of_sink.missing;
        delays.extend(of_sink.after_answer);
    }
    server.stop().await?;
    delays.sort_unstable_by(f64::total_cmp);
    soon.deliveries = permille(&delays, 990);
    let latencies = answered.iter().map(|one| f64::from(one.latency_us) / 1e3);
    let mut latencies: Vec<f64> = latencies.collect();
    latencies.sort_unstable_by(f64::total_cmp);
    soon.callbacks = permille(&latencies, 990);
    Ok(soon)
}

/// Measures what two endpoints add to the cost of a callback.
pub async fn standing(bench: &Bench) -> anyhow::Result<Findings> {
    let cases = [("no endpoint", 0), ("2 endpoints", 2)]
        .map(|(name, count)| (Case::new(name, Receiver, Disk::FAST, CONNECTIONS), count));
    let (mut samples, mut delivered) = (Vec::new(), Vec::new());
    for round in 1..=bench.rounds {
        let mut row = Vec::new();
        for (case, count) in &cases {
            let (sample, deliveries) = with_endpoints(bench, case, *count).await?;
            eprintln!(
                "  round {round}: {}: {sample}, {deliveries:.0} deliveries/s",
                case.name
            );
            row.push(sample);
            if *count > 0 {
                delivered.push(deliveries);
            }
        }
        samples.push(row);
    }
    let rounds = Rounds::of(cases.map(|(case, _)| case).to_vec(), samples);
    let mut found = Findings::of(&rounds);
    let names = ["2 endpoints", "no endpoint"];
    let rate = rounds.ratio(names[0], names[1]);
    found.goal(
        "durable callbacks with 2 standing endpoints : with none",
        Beside,
        "",
        rate,
    );
    let cpu = |of: &[&Sample]| of[0].server_cpu_us / of[1].server_cpu_us;
    found.goal(
        "the same, server CPU",
        Beside,
        "",
        rounds.figure(&names, cpu),
    );
    let what = "the same, deliveries a second meanwhile";
    found.goal(what, Beside, "", Ok(Range::of(delivered)));
    Ok(found)
}

async fn with_endpoints(bench: &Bench, case: &Case, count: usize) -> anyhow::Result<(Sample, f64)> {
    let mut sinks = Vec::new();
    for _ in 0..count {
        sinks.push(Sink::open(Manner::TakesIt).await?);
    }
    let mut place = Place::new(Receiver, Disk::FAST).await?;
    place.settings.tables = tables(&sinks, place.path())?;
    let sample = case.run_in(place, &bench.setting).await?;
    let deliveries: usize = sinks.iter().map(|sink| sink.arrivals.count()).sum();
    let length: Duration = bench.setting.warm_up + bench.setting.window;
    Ok((
        sample,
        crate::numbers::number(deliveries) / length.as_secs_f64(),
    ))
}
