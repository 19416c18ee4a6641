//! The disk fills up (I5): first submits are refused, then callbacks are answered 503. Reads
//! continue to work, and the same process records everything once there is space again.

use std::fs::File;
use std::path::{Path, PathBuf};

use rustix::fs::statvfs;
use tokio::time::{Instant, sleep};

use crate::support::process::disk::Disk;
use crate::support::process::filler::{fill, fill_until};
use crate::support::process::load::Load;
use crate::support::process::{Place, Receiver};
use crate::support::store::check;
use crate::support::until::PATIENCE;

const NEARLY_FULL: (u16, &str) = (503, "store_nearly_full");

/// The answer to an accepted submit: it was sent to EvoLink, which does not exist here.
const TAKEN: (u16, &str) = (503, "evolink_unreachable");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_heals_without_a_restart_and_loses_nothing() {
    let Some((_disk, place)) = Disk::with_place("16M") else {
        return;
    };
    let mut receiver = place.start().await;
    let load = Load::new();
    let running = load.start(&receiver);
    running.reached(50).await;
    running.stop().await;
    let known = load.acknowledged()[0].clone();
    for round in 1..=3 {
        let filler = place.data().join("filler");
        fill(&filler);
        let mut large_ones = fill_by_callbacks(&receiver, round).await;
        // This stays true under concurrent load.
        let running = load.start(&receiver);
        running.sent(100).await;
        running.stop().await;
        assert_reads_work(&receiver, &known.task_id).await;
        assert!(receiver.is_running(), "{}", receiver.log_tail());

        std::fs::remove_file(&filler).unwrap();
        let refused = large_ones.pop().unwrap();
        recorded_again(&receiver, &refused).await;
        let running = load.start(&receiver);
        running.reached(50).await;
        running.stop().await;
        let faults = check::faults(place.store(), &load.acknowledged()).await;
        assert!(faults.is_empty(), "round {round}: {faults:#?}");
        assert_kept(&place, &large_ones).await;
    }
    receiver.terminate();
    assert_eq!(receiver.ended().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_filling_disk_submits_are_refused_before_callbacks_and_accepted_again_later() {
    let Some((_disk, place)) = Disk::with_place("16M") else {
        return;
    };
    give_up_on_evolink_soon(&place);
    let mut receiver = place.start().await;
    let filler = place.data().join("filler");
    for round in 1..=3 {
        submit_is(&receiver, TAKEN).await;
        wait_for_reserve_file(&place).await;
        // The receiver wants an eighth of 16 MiB free. The space that is left is still enough for
        // many callbacks.
        fill_until(&filler, || free_bytes(place.data()) < 1_500_000);
        submit_is(&receiver, NEARLY_FULL).await;
        let body = format!(r#"{{"id":"task-beside-{round}","status":"processing"}}"#);
        assert_eq!(receiver.callback(body).await, Some((200, None)));
        assert_eq!(receiver.status("/readyz").await, Some(200));
        assert!(reserve_file(&place).exists(), "it is for later");

        fill(&filler);
        let mut sent = fill_by_callbacks(&receiver, round).await;
        assert!(
            !reserve_file(&place).exists(),
            "its space was given to callbacks"
        );
        submit_is(&receiver, NEARLY_FULL).await;
        std::fs::remove_file(&filler).unwrap();
        let start = Instant::now();
        recorded_again(&receiver, &sent.pop().unwrap()).await;
        submit_is(&receiver, TAKEN).await;
        wait_for_reserve_file(&place).await;
        println!(
            "round {round}: all is as before {:?} after there was room",
            start.elapsed()
        );
        assert_kept(&place, &sent).await;
    }
    receiver.terminate();
    assert_eq!(receiver.ended().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_free_inodes_submits_are_refused_and_callbacks_are_recorded() {
    let Some((_disk, place)) = Disk::with_place_for_files("16M", 20) else {
        return;
    };
    give_up_on_evolink_soon(&place);
    let mut receiver = place.start().await;
    for round in 1..=3 {
        submit_is(&receiver, TAKEN).await;
        let names = (0..20).map(|number| place.data().join(format!("filler-{number}")));
        let fillers: Vec<PathBuf> = names
            .take_while(|name| File::create(name).is_ok())
            .collect();
        assert!(fillers.len() < 20, "there are 20 files at most");
        submit_is(&receiver, NEARLY_FULL).await;
        let load = Load::new();
        let running = load.start(&receiver);
        running.reached(50).await;
        running.stop().await;
        for filler in fillers {
            std::fs::remove_file(filler).unwrap();
        }
        let start = Instant::now();
        submit_is(&receiver, TAKEN).await;
        println!(
            "round {round}: submits are taken {:?} after there was room",
            start.elapsed()
        );
        let faults = check::faults(place.store(), &load.acknowledged()).await;
        assert!(faults.is_empty(), "round {round}: {faults:#?}");
    }
    receiver.terminate();
    assert_eq!(receiver.ended().await.code(), Some(0));
}

/// Starts on a disk that is full except for the reserve file.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_with_a_reserve_file_starts_and_records_callbacks() {
    let Some((_disk, place)) = Disk::with_place("16M") else {
        return;
    };
    let mut receiver = place.start().await;
    wait_for_reserve_file(&place).await;
    receiver.terminate();
    assert_eq!(receiver.ended().await.code(), Some(0));
    fill(&place.data().join("filler"));
    let receiver = place.start().await;
    assert!(!reserve_file(&place).exists(), "it was needed");
    submit_is(&receiver, NEARLY_FULL).await;
    let body = r#"{"id":"task-1","status":"processing"}"#;
    assert_eq!(receiver.callback(body.to_owned()).await, Some((200, None)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readiness_names_the_full_disk_in_the_detail_of_the_disk() {
    let Some((_disk, place)) = Disk::with_place("16M") else {
        return;
    };
    let receiver = place.start().await;
    let (_, body) = receiver.get("/readyz?verbose").await.unwrap();
    let disk = &body["details"]["disk"];
    assert_eq!(disk["message"], "the store's disk has space", "{body}");
    fill(&place.data().join("filler"));
    fill_by_callbacks(&receiver, 1).await;
    let (status, body) = receiver.get("/readyz?verbose").await.unwrap();
    assert_eq!(status, 503, "{body}");
    let disk = &body["details"]["disk"];
    assert_eq!(disk["state"], "failing", "{body}");
    let says = "the store's disk is full: callbacks and submits get 503";
    assert_eq!(disk["message"], says, "{body}");
}

/// The receiver tries to reach EvoLink for this long with each accepted submit.
fn give_up_on_evolink_soon(place: &Place) {
    place.configure("[evolink]", "[evolink]\ntimeout = \"1s\"");
}

fn free_bytes(folder: &Path) -> u64 {
    let found = statvfs(folder).unwrap();
    found.f_bavail * found.f_frsize
}

fn reserve_file(place: &Place) -> PathBuf {
    place.data().join("receiver.db.ballast")
}

async fn wait_for_reserve_file(place: &Place) {
    until("the reserve file", async || reserve_file(place).exists()).await;
}

async fn submit_is(receiver: &Receiver, (status, code): (u16, &str)) {
    let wanted = Some((status, code.to_owned()));
    until(code, async || receiver.submit().await == wanted).await;
}

async fn until(what: &str, is_it: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_it().await {
        assert!(Instant::now() < deadline, "it never came: {what}");
        sleep(std::time::Duration::from_millis(10)).await;
    }
}

/// Sends callbacks until one is refused, because the write-ahead log first uses up free space of
/// its own. Returns the ids of all acknowledged callbacks and of the first refused one.
pub async fn fill_by_callbacks(receiver: &Receiver, round: u32) -> Vec<String> {
    let mut sent = Vec::new();
    for number in 0..1000 {
        let task_id = format!("task-large-{round}-{number}");
        let answer = receiver.callback(large(&task_id)).await;
        sent.push(task_id);
        match answer {
            Some((200, _)) => {}
            Some((503, retry_after)) => {
                println!("round {round}: full after {number} callbacks of 100 kB");
                assert!(retry_after.is_some(), "told when to come again");
                return sent;
            }
            other => panic!("{other:?}: {}", receiver.log_tail()),
        }
    }
    panic!("a full disk takes 100 MB");
}

fn large(task_id: &str) -> String {
    let filling = "x".repeat(100_000);
    format!(r#"{{"id":"{task_id}","status":"processing","filling":"{filling}"}}"#)
}

async fn assert_reads_work(receiver: &Receiver, task_id: &str) {
    for path in [
        format!("/v1/tasks/{task_id}"),
        format!("/v1/tasks/{task_id}/events"),
        "/v1/tasks?limit=5".to_owned(),
        "/livez".to_owned(),
    ] {
        assert_eq!(
            receiver.status(&path).await,
            Some(200),
            "{path}: {}",
            receiver.log_tail()
        );
    }
}

pub async fn recorded_again(receiver: &Receiver, task_id: &str) {
    let start = Instant::now();
    while receiver.callback(large(task_id)).await != Some((200, None)) {
        assert!(start.elapsed() < PATIENCE, "{}", receiver.log_tail());
        sleep(std::time::Duration::from_millis(5)).await;
    }
    println!("recording again {:?} after there was room", start.elapsed());
}

pub async fn assert_kept(place: &Place, task_ids: &[String]) {
    let kept = check::task_ids(place.store()).await;
    for id in task_ids {
        assert!(kept.contains(id), "{id} was acknowledged and is lost");
    }
}
