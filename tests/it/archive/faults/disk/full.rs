//! The archive's disk fills up.

use std::time::Duration;

use rustix::fs::statvfs;
use tokio::time::{Instant, sleep};

use super::{LOOPBACK, PATIENCE, archived, complete, download, failed, origin};
use crate::support::files::{archive_in, kept, png};
use crate::support::process::Receiver;
use crate::support::process::disk::Disk;
use crate::support::process::filler::{fill, fill_until};

const TASKS: usize = 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_full_disk_callbacks_go_on_and_files_are_archived_once_there_is_room() {
    let Some((disk, place)) = Disk::with_archive("16M") else {
        return;
    };
    let origin = origin().await;
    archive_in(&place, LOOPBACK);
    let receiver = place.start().await;
    let first = complete(&receiver, &origin, 0).await;
    archived(&receiver, &first).await;

    fill(&disk.seen("filler"));
    let mut ids = Vec::new();
    for number in 1..=TASKS {
        ids.push(complete(&receiver, &origin, number).await);
    }
    for id in &ids {
        assert_eq!(failed(&receiver, id).await, "the storage is full");
    }
    assert_eq!(receiver.status("/readyz").await, Some(200));
    assert_eq!(download(&receiver, &first).await, (200, png(0, 100_000)));
    assert!(kept::drafts(&disk.seen("results")).is_empty());
    // A start on a full disk is not refused, because callbacks can still be recorded.
    receiver.stop().await;
    let receiver = place.start().await;

    std::fs::remove_file(disk.seen("filler")).unwrap();
    for (number, id) in (1..).zip(&ids) {
        archived(&receiver, id).await;
        let file = png(number, 100_000);
        assert_eq!(download(&receiver, id).await, (200, file), "{id}");
    }
    let rows = kept::rows(place.store()).await;
    let faults = kept::faults(&rows, &disk.seen("results"), |_| true);
    assert_eq!((rows.len(), faults), (TASKS + 1, Vec::new()));
    receiver.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn below_the_minimum_of_free_space_the_archive_pauses() {
    let Some((disk, place)) = Disk::with_archive("64M") else {
        return;
    };
    let origin = origin().await;
    archive_in(&place, &format!("min_free = \"32MiB\"\n{LOOPBACK}"));
    let receiver = place.start().await;
    let first = complete(&receiver, &origin, 0).await;
    archived(&receiver, &first).await;
    pause_is(&receiver, 0).await;

    let free = || {
        let found = statvfs(disk.seen("")).unwrap();
        found.f_bavail * found.f_frsize
    };
    fill_until(&disk.seen("filler"), || free() < 30 * 1024 * 1024);
    pause_is(&receiver, 1).await;
    let mut ids = Vec::new();
    for number in 1..=TASKS {
        ids.push(complete(&receiver, &origin, number).await);
    }
    assert_eq!(receiver.status("/readyz").await, Some(200));
    // A client that waits for a file gets an error that says so.
    let url = format!(
        "http://{}/v1/tasks/{}/results/0",
        receiver.internal(),
        ids[0]
    );
    let asked = receiver.http.get(url).timeout(Duration::from_secs(3));
    assert!(asked.send().await.is_err(), "it waits");
    assert_eq!(origin.count(), 1, "nothing is fetched");
    assert_eq!(download(&receiver, &first).await, (200, png(0, 100_000)));

    std::fs::remove_file(disk.seen("filler")).unwrap();
    for id in &ids {
        let file = archived(&receiver, id).await;
        assert!(file["error"].is_null(), "{file}");
    }
    pause_is(&receiver, 0).await;
    assert_eq!(origin.count(), TASKS + 1);
    receiver.stop().await;
}

/// Waits until the metric has this value.
async fn pause_is(receiver: &Receiver, value: u8) {
    let line = format!("evolink_receiver_archive_paused {value}\n");
    let deadline = Instant::now() + PATIENCE;
    loop {
        let url = format!("http://{}/metrics", receiver.internal());
        let answer = receiver.http.get(url).send().await.unwrap();
        let metrics = answer.text().await.unwrap();
        if metrics.contains(&line) {
            return;
        }
        assert!(Instant::now() < deadline, "never {line}");
        sleep(Duration::from_millis(100)).await;
    }
}
