//! The disk fills up (I5): callbacks are told to come again, reads work, and when there is room again callbacks are
//! recorded by the same process.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use tokio::time::{Instant, sleep};

use super::check;
use super::disk::Disk;
use super::load::Load;
use super::receiver::{PATIENCE, Place, Receiver};

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
        // Under load from many at once it stays so.
        let running = load.start(&receiver);
        sleep(std::time::Duration::from_millis(300)).await;
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

/// Writes until nothing more goes in, then the last bytes one page at a time.
fn fill(path: &Path) {
    let mut filler = File::create(path).unwrap();
    for size in [64 * 1024, 4096, 1] {
        while filler.write_all(&vec![0x5a; size]).is_ok() {}
        // Delayed allocation may find more room, or less.
        let _ = filler.sync_all();
    }
}

/// The write-ahead log has room of its own to use up. The ids of what was acknowledged, and of the first that was not.
async fn fill_by_callbacks(receiver: &Receiver, round: u32) -> Vec<String> {
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

async fn recorded_again(receiver: &Receiver, task_id: &str) {
    let start = Instant::now();
    while receiver.callback(large(task_id)).await != Some((200, None)) {
        assert!(start.elapsed() < PATIENCE, "{}", receiver.log_tail());
        sleep(std::time::Duration::from_millis(5)).await;
    }
    println!("recording again {:?} after there was room", start.elapsed());
}

async fn assert_kept(place: &Place, task_ids: &[String]) {
    let kept = check::task_ids(place.store()).await;
    for id in task_ids {
        assert!(kept.contains(id), "{id} was acknowledged and is lost");
    }
}
