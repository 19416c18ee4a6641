//! Recipe R2: a system call of the store fails, or the process dies in it, at its first, second, …
//! occurrence, beginning with the first start: migrations, commits, checkpoints. After a restart
//! every acknowledged callback is there, and sending everything again has no further effect (I2,
//! I4).

use std::path::PathBuf;

use crate::support::campaign::{random, rounds};
use crate::support::machine::needs::{self, Root};
use crate::support::process::load::callback;
use crate::support::process::{Place, Receiver};
use crate::support::store::check::{self, Acknowledged};

/// The calls that a store makes most are listed more than once.
const CALLS: [&str; 7] = [
    "pwrite64",
    "pwrite64",
    "fdatasync,fsync",
    "fdatasync,fsync",
    "ftruncate",
    "openat",
    "unlink,rename",
];

const FAULTS: [&str; 6] = [
    "error=EIO",
    "error=ENOSPC",
    "error=EDQUOT",
    "error=EROFS",
    "error=EINTR",
    "signal=KILL",
];

/// Callbacks in a scenario. Each is sent once, and its answer awaited.
const CALLBACKS: u64 = 12;

/// A scenario hardly makes more calls of one kind than this.
const OCCURRENCE_MAX: u32 = 25;

/// The result of one scenario.
#[derive(Default)]
struct Told {
    hits: u32,
    refused_starts: u32,
    ended: u32,
    acknowledged: usize,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_system_call_or_a_kill_in_it_loses_and_duplicates_nothing() {
    if !needs::are_met(Root::NotNeeded, &["strace"]) {
        return;
    }
    let mut random = random();
    let place = Place::new();
    // Create the keys and the certificate first, because this test is about the store.
    let mut receiver = place.start().await;
    receiver.terminate();
    assert_eq!(receiver.ended().await.code(), Some(0));
    let mut told = Told::default();
    let rounds = rounds(12, 300);
    for round in 1..=rounds {
        let call = CALLS[random.usize(..CALLS.len())];
        let fault = FAULTS[random.usize(..FAULTS.len())];
        let first = random.u32(1..=OCCURRENCE_MAX);
        // The fault hits once, or every time from then on. `EINTR` hits only once, because SQLite
        // repeats an interrupted call until it succeeds.
        let is_once = fault == "error=EINTR" || random.bool();
        let when = format!("{first}{}", if is_once { "" } else { "+" });
        let what = format!("round {round}: {call} {fault} when {when}");
        // On an existing store, faults hit commits and checkpoints; otherwise they mostly hit its
        // creation.
        if random.bool() {
            remove_store(&place);
        }
        let injection = format!("{fault}:when={when}");
        tell(&place, round as usize, (call, &injection), &what, &mut told).await;
    }
    let Told {
        hits,
        refused_starts,
        ended,
        acknowledged,
    } = told;
    println!(
        "{rounds} rounds, {hits} with a hit, {refused_starts} starts refused, {ended} ended later; {acknowledged} acknowledged, none lost or doubled"
    );
    assert!(hits > 0, "nothing was injected: this test finds nothing");
}

/// Runs a scenario from the start to the check after the next start. The callbacks are those of
/// sender `round`.
async fn tell(
    place: &Place,
    round: usize,
    (call, fault): (&str, &str),
    what: &str,
    told: &mut Told,
) {
    let report = place.data().join("strace");
    let mut traced = place.clone();
    let paths = [
        "",
        "-wal",
        "-shm",
        ".lock",
        ".ballast",
        ".ballast.new",
        ".mark",
        ".mark.new",
    ];
    let mut launcher = vec![
        "strace".to_owned(),
        "-D".to_owned(),
        "-f".to_owned(),
        "-qq".to_owned(),
    ];
    launcher.extend(["-o".to_owned(), report.display().to_string()]);
    for suffix in paths {
        launcher.extend([
            "-P".to_owned(),
            format!("{}{suffix}", place.database().display()),
        ]);
    }
    launcher.extend([
        "-e".to_owned(),
        format!("trace={call}"),
        format!("--inject={call}:{fault}"),
    ]);
    let words: Vec<&str> = launcher.iter().map(String::as_str).collect();
    traced.launch_through(&words);
    let mut acknowledged = Vec::new();
    let mut was_killed = false;
    match traced.try_start().await {
        Ok(mut receiver) => {
            send_all(&receiver, round, &mut acknowledged).await;
            if receiver.is_running() {
                receiver.kill();
            } else {
                told.ended += 1;
                was_killed = fault.starts_with("signal");
                assert_good_end(&mut receiver, what).await;
            }
        }
        Err(refusal) => {
            told.refused_starts += 1;
            was_killed = fault.starts_with("signal");
            let is_known = ["exit status: 69", "exit status: 75", "signal: 9"];
            assert!(
                is_known.iter().any(|end| refusal.contains(end)),
                "{what}: {refusal}"
            );
        }
    }
    told.acknowledged += acknowledged.len();
    let said = std::fs::read_to_string(&report).unwrap_or_default();
    told.hits += u32::from(was_killed || said.contains("INJECTED"));
    after_restart(place, round, &acknowledged, what).await;
}

async fn assert_good_end(receiver: &mut Receiver, what: &str) {
    let status = receiver.ended().await;
    // Killed by the injection, or exited by its own decision.
    let is_good = matches!(status.code(), None | Some(75));
    assert!(is_good, "{what}: {status}: {}", receiver.log_tail());
}

/// Sends all callbacks, and adds those that were answered 2xx to `acknowledged`.
async fn send_all(receiver: &Receiver, round: usize, acknowledged: &mut Vec<Acknowledged>) {
    for n in 0..CALLBACKS {
        let callback = callback(round, n);
        if let Some((200, _)) = receiver.callback(callback.body.clone()).await {
            acknowledged.push(callback);
        }
    }
}

async fn after_restart(place: &Place, round: usize, acknowledged: &[Acknowledged], what: &str) {
    let mut receiver = match place.try_start().await {
        Ok(receiver) => receiver,
        Err(refusal) => panic!("{what}: it does not start again: {refusal}"),
    };
    let faults = check::faults(place.store(), acknowledged).await;
    assert!(faults.is_empty(), "{what}: {faults:#?}");
    let mut again = Vec::new();
    send_all(&receiver, round, &mut again).await;
    assert_eq!(
        again.len() as u64,
        CALLBACKS,
        "{what}: {}",
        receiver.log_tail()
    );
    // After everything was sent again, each task has one outcome and one event.
    let faults = check::faults(place.store(), &again).await;
    assert!(faults.is_empty(), "{what}: {faults:#?}");
    receiver.kill();
}

fn remove_store(place: &Place) {
    let name = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
    let entries = std::fs::read_dir(place.data()).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    for path in paths.filter(|path| name(path).starts_with("receiver.db")) {
        std::fs::remove_file(path).unwrap();
    }
    // The key ring stays, so an empty database file has to show that nothing is missing.
    std::fs::write(place.database(), "").unwrap();
}
