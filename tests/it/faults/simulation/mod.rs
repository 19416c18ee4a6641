//! A simulation (rule R6): the real domain, recorder and store under a seeded scheduler,
//! compared with a plain model.
//!
//! A history is some forty steps of apps, EvoLink, the reconciler and faults. After each step that
//! touches the store, the test compares the store's content, read by SQL, with what the model
//! allows. A crash loses what was not committed and the callers that waited for it, so the model
//! then allows both results. The same seed makes the same choices; where exactly a crash hits
//! depends on the machine.
//!
//! A third of the histories each run with `callbacks.confirm` as `never`, `suspicious` and
//! `always`.
//!
//! `statement` defines what can be said, `machine` passes it to the product, and `look` reads the
//! store. `laws` lists what must never happen, and `belief` what must not be believed. `model`
//! knows the expected state: `kept` one record, `quarantine` the messages that could not be
//! applied, `guard` the submits without a key. `apps` makes those submits. `run` joins the parts,
//! and `judge` compares. `steps`, `stray`, `deliveries`, `reconciler`, `evolink` and `mishap` are
//! the things that happen.

mod apps;
mod batches;
mod belief;
mod deliveries;
mod evolink;
mod guard;
mod judge;
mod kept;
mod laws;
mod look;
mod machine;
mod mishap;
mod model;
mod orders;
mod quarantine;
mod reconciler;
mod run;
mod statement;
mod steps;
mod stray;

use std::panic::AssertUnwindSafe;
use std::process::Command;

use futures_util::FutureExt as _;
use machine::Machine;
use run::{Checked, Run, Tally};
use tokio::time::Instant;

use crate::support::campaign::rounds;
use crate::support::store::{check, is_postgres};

/// Random steps of one history, before it is brought to its end.
const STEPS: std::ops::RangeInclusive<u32> = 5..=40;

/// Histories in one database. A small database is quick to fill, so a new one is started after this
/// many.
const HISTORIES_PER_STORE: u64 = 2000;

/// Histories in one process. A store that is dropped and not closed, as in a crash, leaves three
/// descriptors until the process ends.
const HISTORIES_PER_PROCESS: u64 = 8000;

/// Environment variable with the number of histories.
const HISTORIES: &str = "EVOLINK_RECEIVER_TEST_HISTORIES";

/// Environment variable with a seed: replays that one history and prints its trace.
const TO_REPLAY: &str = "EVOLINK_RECEIVER_TEST_SEED";

/// In this many histories the rarest event of `MUST_HAPPEN` occurs some twenty times.
const MEANINGFUL: u64 = 200;

/// Events that must have happened in any run for it to be meaningful.
const MUST_HAPPEN: [&str; 23] = [
    "claims",
    "apps that disconnected",
    "calls without a mishap",
    "calls repeated",
    "clashes of a key",
    "crashes",
    "crashes in line",
    "histories that ended well",
    "outcomes of EvoLink's own",
    "owed to an app's own address",
    "polls",
    "polls put off",
    "refusals",
    "refusals with a crash",
    "repeats",
    "repeats with an answer",
    "replays from quarantine",
    "replays of a key",
    "restored backups",
    "submits cut off",
    "submits that were unsure",
    "unknown, and all there",
    "unknown, and not all there",
];

/// Runs one history from its seed. A failure message includes `number`; without it the whole trace
/// is printed as it happens.
async fn live(machine: &mut Machine, tally: &mut Tally, seed: u64, number: Option<u64>) {
    let mut run = Run::begin(machine, tally, seed, number.is_none()).await;
    let steps = run.random.u32(STEPS);
    let ends_well = run.random.bool();
    let lived = async {
        run.submit().await?;
        for _ in 0..steps {
            run.step().await?;
        }
        if ends_well {
            run.come_to_an_end().await?;
        }
        run.end().await;
        Checked::Ok(())
    };
    // A panic is a fault too, and needs its trace.
    let lived = AssertUnwindSafe(lived).catch_unwind().await;
    if let Err(fault) = lived.unwrap_or_else(|_| Err("it panicked, as told above".to_owned())) {
        let (fault, trace) = (run.named(&fault), run.trace.join("\n"));
        let number = number.map_or(0, |number| number + 1);
        panic!("history {number} of this processor, {TO_REPLAY}={seed}\n{trace}\n{fault}");
    }
}

async fn assert_whole(machine: &Machine) {
    let mut faults = check::faults(&machine.home, &[]).await;
    // The backups that are restored here lack one task, but have all later ones.
    faults.retain(|fault| !fault.ends_with(check::UNNUMBERED));
    assert!(faults.is_empty(), "{faults:#?}");
}

/// Runs `histories` histories one after the other, and returns how often each thing happened in
/// them.
async fn live_all(first: u64, histories: u64) -> Tally {
    let mut machine = Machine::new().await;
    let mut tally = Tally::new();
    for number in 0..histories {
        if number > 0 && number % HISTORIES_PER_STORE == 0 {
            assert_whole(&machine).await;
            machine = Machine::new().await;
        }
        live(&mut machine, &mut tally, first + number, Some(number)).await;
    }
    assert_whole(&machine).await;
    tally
}

fn on_runtime<T>(work: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build().unwrap().block_on(work)
}

/// Runs `share` histories on each processor, each with a store of its own.
fn live_all_at_once(first: u64, share: u64, processors: u64) -> Tally {
    let mut tally = Tally::new();
    std::thread::scope(|scope| {
        let work = |number| move || on_runtime(live_all(first + number * share, share));
        let running = (0..processors).map(|number| scope.spawn(work(number)));
        let running: Vec<_> = running.collect();
        for one in running {
            for (what, times) in one.join().expect("it has said why") {
                *tally.entry(what).or_default() += times;
            }
        }
    });
    tally
}

/// Runs this test in a process of its own, with its output in ours.
fn run_in_a_process(histories: u64) {
    let name = std::thread::current().name().map(str::to_owned);
    let ended = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &name.unwrap(), "--nocapture"])
        .env(HISTORIES, histories.to_string())
        .status();
    assert!(ended.unwrap().success(), "a process has said why");
}

#[test]
fn the_store_is_what_the_model_allows_whatever_happens_in_whatever_order() {
    if let Ok(seed) = std::env::var(TO_REPLAY) {
        return on_runtime(async {
            let mut machine = Machine::new().await;
            live(&mut machine, &mut Tally::new(), seed.parse().unwrap(), None).await;
            assert_whole(&machine).await;
        });
    }
    let given = std::env::var(HISTORIES).ok();
    let histories = given.map_or_else(
        || {
            u64::from(if is_postgres() {
                rounds(60, 10_000)
            } else {
                rounds(240, 100_000)
            })
        },
        |given| given.parse().unwrap(),
    );
    if histories > HISTORIES_PER_PROCESS {
        for done in (0..histories).step_by(usize::try_from(HISTORIES_PER_PROCESS).unwrap()) {
            run_in_a_process(HISTORIES_PER_PROCESS.min(histories - done));
        }
        return;
    }
    let processors = std::thread::available_parallelism().unwrap().get() as u64;
    let share = histories.div_ceil(processors);
    let first = fastrand::u64(..u64::MAX / 2);
    let began = Instant::now();
    let tally = live_all_at_once(first, share, processors);
    let (took, histories) = (began.elapsed(), share * processors);
    println!(
        "{histories} histories in {took:.1?} on {processors} processors, {:.0} a second, the first with seed {first}: {tally:#?}",
        f64::from(u32::try_from(histories).unwrap()) / took.as_secs_f64()
    );
    if histories < MEANINGFUL {
        return;
    }
    let missing = MUST_HAPPEN.iter().filter(|what| !tally.contains_key(*what));
    let missing: Vec<_> = missing.collect();
    assert!(missing.is_empty(), "this never happened: {missing:?}");
}
