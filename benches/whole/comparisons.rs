//! The comparisons that use one store of an ordinary size: which programs run, and which goal each
//! has.

use crate::Bench;
use crate::disk::Disk;
use crate::figures::Bound::{AtLeast, AtMost, Beside};
use crate::figures::Findings;
use crate::load::{Load, Pace, Reuse};
use crate::targets::Target::{CommitsEach, Receiver, StoresNothing};
use crate::trial::{Case, Work};

/// Connections in most cases.
const MANY: usize = 256;

/// Measures what it costs to store callbacks durably.
pub async fn durable(bench: &Bench) -> anyhow::Result<Findings> {
    let fast = Disk::FAST;
    let rounds = bench
        .alternate(vec![
            Case::new("A, 1", StoresNothing, fast, 1),
            Case::new("receiver, 1", Receiver, fast, 1),
            Case::new("A, 16", StoresNothing, fast, 16),
            Case::new("receiver, 16", Receiver, fast, 16),
            Case::new("A, 64", StoresNothing, fast, 64),
            Case::new("receiver, 64", Receiver, fast, 64),
            Case::new("A, 256", StoresNothing, fast, MANY),
            Case::new("receiver, 256", Receiver, fast, MANY),
            Case::new("A, 1000", StoresNothing, fast, 1000),
            Case::new("receiver, 1000", Receiver, fast, 1000),
        ])
        .await?;
    let mut found = Findings::of(&rounds);
    let mut ratio = |what, bound, one, other| {
        let figure = rounds.ratio(one, other);
        found.goal(&format!("durable callbacks : A, {what}"), bound, "", figure);
    };
    ratio("256 connections", AtLeast(0.30), "receiver, 256", "A, 256");
    ratio("64 connections", AtLeast(0.25), "receiver, 64", "A, 64");
    ratio(
        "1000 connections",
        AtLeast(0.40),
        "receiver, 1000",
        "A, 1000",
    );
    ratio("1 connection", Beside, "receiver, 1", "A, 1");
    ratio("16 connections", Beside, "receiver, 16", "A, 16");
    found.goal(
        "server CPU per durable callback : A's per request, 256 connections",
        AtMost(4.0),
        "",
        rounds.figure(&["receiver, 256", "A, 256"], |of| {
            of[0].server_cpu_us / of[1].server_cpu_us
        }),
    );
    found.goal(
        "memory when idle",
        AtMost(24.0),
        "MiB",
        rounds.figure(&["receiver, 256"], |of| of[0].memory_idle),
    );
    found.goal(
        "memory with 1000 connections at full load, highest",
        AtMost(128.0),
        "MiB",
        rounds.figure(&["receiver, 1000"], |of| of[0].memory_peak),
    );
    Ok(found)
}

/// Compares one commit for many callbacks with one for each, on disks of different speed.
pub async fn disks(bench: &Bench) -> anyhow::Result<Findings> {
    let rounds = bench
        .alternate(vec![
            Case::new("A", StoresNothing, Disk::FAST, MANY),
            Case::new("B at 140 µs", CommitsEach, Disk::FAST, MANY),
            Case::new("receiver at 140 µs", Receiver, Disk::FAST, MANY),
            Case::new("B at 1 ms", CommitsEach, Disk::MIDDLING, MANY),
            Case::new("receiver at 1 ms", Receiver, Disk::MIDDLING, MANY),
            Case::new("B at 4 ms", CommitsEach, Disk::CLOUD, MANY),
            Case::new("receiver at 4 ms", Receiver, Disk::CLOUD, MANY),
            Case::new("B, real", CommitsEach, Disk::Real, MANY),
            Case::new("receiver, real", Receiver, Disk::Real, MANY),
        ])
        .await?;
    let mut found = Findings::of(&rounds);
    let mut ratio = |what: &str, bound, one, other| {
        found.goal(what, bound, "", rounds.ratio(one, other));
    };
    ratio(
        "durable callbacks : B doing the same writes, fsync 140 µs",
        AtLeast(10.0),
        "receiver at 140 µs",
        "B at 140 µs",
    );
    ratio(
        "the same, fsync 1 ms",
        Beside,
        "receiver at 1 ms",
        "B at 1 ms",
    );
    ratio(
        "the same, fsync 4 ms",
        AtLeast(50.0),
        "receiver at 4 ms",
        "B at 4 ms",
    );
    ratio("the same, real disk", Beside, "receiver, real", "B, real");
    ratio(
        "durable callbacks : A, fsync 1 ms",
        Beside,
        "receiver at 1 ms",
        "A",
    );
    ratio(
        "durable callbacks : A, fsync 4 ms",
        Beside,
        "receiver at 4 ms",
        "A",
    );
    ratio(
        "durable callbacks : A, real disk",
        Beside,
        "receiver, real",
        "A",
    );
    Ok(found)
}

/// Measures callbacks that each come on a new connection, as EvoLink may send them.
pub async fn handshakes(bench: &Bench) -> anyhow::Result<Findings> {
    let new_each = Load {
        reuse: Reuse::NewEach,
        ..Load::closed(MANY)
    };
    let case = |name, target| Case {
        load: new_each,
        ..Case::new(name, target, Disk::FAST, MANY)
    };
    let rounds = bench
        .alternate(vec![
            case("A, new connections", StoresNothing),
            case("receiver, new connections", Receiver),
        ])
        .await?;
    let mut found = Findings::of(&rounds);
    found.goal(
        "durable callbacks, each on a new TLS connection : A likewise",
        AtLeast(0.85),
        "",
        rounds.ratio("receiver, new connections", "A, new connections"),
    );
    Ok(found)
}

/// Measures the latency of callbacks at a moderate, fixed rate.
pub async fn steady(bench: &Bench) -> anyhow::Result<Findings> {
    let open = Load {
        pace: Pace::Open(2000),
        ..Load::closed(MANY)
    };
    let case = |name, target| Case {
        load: open,
        ..Case::new(name, target, Disk::FAST, MANY)
    };
    let rounds = bench
        .alternate(vec![
            case("A, 2000/s", StoresNothing),
            case("receiver, 2000/s", Receiver),
            case("B, 2000/s", CommitsEach),
        ])
        .await?;
    let mut found = Findings::of(&rounds);
    found.goal(
        "2000/s in an open loop, p99 : A's",
        AtMost(2.0),
        "",
        rounds.figure(&["receiver, 2000/s", "A, 2000/s"], |of| {
            of[0].p99 / of[1].p99
        }),
    );
    found.goal(
        "2000/s in an open loop, highest",
        AtMost(50.0),
        "ms",
        rounds.figure(&["receiver, 2000/s"], |of| of[0].max),
    );
    Ok(found)
}

/// Measures repeated callbacks, which EvoLink sends when a response was lost.
pub async fn duplicates(bench: &Bench) -> anyhow::Result<Findings> {
    let rounds = bench
        .alternate(vec![
            Case::new("new callbacks", Receiver, Disk::FAST, MANY),
            Case {
                work: Work::Again,
                ..Case::new("duplicates", Receiver, Disk::FAST, MANY)
            },
        ])
        .await?;
    let mut found = Findings::of(&rounds);
    found.goal(
        "duplicates : new callbacks",
        AtLeast(1.0),
        "",
        rounds.ratio("duplicates", "new callbacks"),
    );
    Ok(found)
}

/// Measures guessed tokens. A guess with a body costs its sender the connection, so it is compared
/// with requests on new connections.
pub async fn guesses(bench: &Bench) -> anyhow::Result<Findings> {
    let guesses = |with_body| Work::Guesses { with_body };
    let bare = |with_body| Work::Bare { with_body };
    let case = |name, target, work, reuse| {
        let mut case = Case::new(name, target, Disk::FAST, MANY);
        case.work = work;
        case.load.reuse = reuse;
        case
    };
    let (keep, new) = (Reuse::KeepAlive, Reuse::NewEach);
    let rounds = bench
        .alternate(vec![
            case("bare endpoint", StoresNothing, bare(false), keep),
            case("guesses", Receiver, guesses(false), keep),
            case("bare, new connections", StoresNothing, bare(true), new),
            case("guesses with a body", Receiver, guesses(true), new),
        ])
        .await?;
    let mut found = Findings::of(&rounds);
    found.goal(
        "refused guesses : bare endpoint",
        AtLeast(0.7),
        "",
        rounds.ratio("guesses", "bare endpoint"),
    );
    found.goal(
        "refused guesses with a body, each on a new TLS connection : bare endpoint likewise",
        AtLeast(0.7),
        "",
        rounds.ratio("guesses with a body", "bare, new connections"),
    );
    Ok(found)
}

/// Measures apps' queries while callbacks arrive.
pub async fn reads(bench: &Bench) -> anyhow::Result<Findings> {
    let case = |name, readers| Case {
        readers,
        ..Case::new(name, Receiver, Disk::FAST, MANY)
    };
    let rounds = bench
        .alternate(vec![
            case("no reader", 0),
            case("1 reader", 1),
            case("16 readers", 16),
        ])
        .await?;
    let mut found = Findings::of(&rounds);
    let p99 = |name| rounds.figure(&[name], |of| of[0].reads_p99.unwrap_or(f64::NAN));
    found.goal(
        "keyed reads at full write load, 1 reader, p99",
        AtMost(5.0),
        "ms",
        p99("1 reader"),
    );
    found.goal(
        "keyed reads at full write load, 16 readers, p99",
        AtMost(5.0),
        "ms",
        p99("16 readers"),
    );
    found.goal(
        "writes beside 1 reader : without",
        AtLeast(0.9),
        "",
        rounds.ratio("1 reader", "no reader"),
    );
    found.goal(
        "writes beside 16 readers : without",
        AtLeast(0.7),
        "",
        rounds.ratio("16 readers", "no reader"),
    );
    Ok(found)
}
