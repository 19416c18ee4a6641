//! A start with a place that cannot be an archive is refused.

use super::LOOPBACK;
use crate::support::files::archive_in;
use crate::support::process::Place;
use crate::support::process::disk::Disk;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_with_a_read_only_archive_is_refused() {
    let Some((disk, place)) = Disk::with_archive("16M") else {
        return;
    };
    archive_in(&place, LOOPBACK);
    place.start().await.stop().await;
    disk.remount("ro");
    assert_refused(&place, "Read-only file system").await;
    // Its folder does not even exist.
    disk.remount("rw");
    std::fs::remove_dir_all(disk.seen("results")).unwrap();
    disk.remount("ro");
    assert_refused(&place, "Read-only file system").await;
    disk.remount("rw");
    place.start().await.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_with_a_place_that_cannot_exist_is_refused() {
    for (absent, reason) in [
        ("file:/dev/null/results", "Not a directory"),
        ("file:/proc/results", "No such file or directory"),
        ("ftp://files/results", "archive.url"),
    ] {
        let place = Place::new();
        archive_in(&place, LOOPBACK);
        let results = place.data().join("results");
        place.configure(&format!("file:{}", results.display()), absent);
        assert_refused(&place, reason).await;
    }
}

async fn assert_refused(place: &Place, reason: &str) {
    let refused = place.run_to_end().await;
    let stderr = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(78), "{stderr}");
    assert!(
        stderr.contains("archive.url") && stderr.contains(reason),
        "{stderr}"
    );
}
