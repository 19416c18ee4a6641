//! The archive's disk turns read-only, or its folder is gone for a while.

use super::{LOOPBACK, archived, complete, download, failed, origin};
use crate::support::files::{archive_in, png};
use crate::support::process::Place;
use crate::support::process::disk::Disk;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_turns_read_only_delays_files_and_nothing_else() {
    let Some((disk, place)) = Disk::with_archive("16M") else {
        return;
    };
    let origin = origin().await;
    archive_in(&place, LOOPBACK);
    let receiver = place.start().await;
    let first = complete(&receiver, &origin, 0).await;
    archived(&receiver, &first).await;

    disk.remount("ro");
    let second = complete(&receiver, &origin, 1).await;
    let error = failed(&receiver, &second).await;
    assert!(error.contains("Read-only file system"), "{error}");
    assert_eq!(receiver.status("/readyz").await, Some(200));
    assert_eq!(download(&receiver, &first).await, (200, png(0, 100_000)));

    disk.remount("rw");
    archived(&receiver, &second).await;
    assert_eq!(download(&receiver, &second).await, (200, png(1, 100_000)));
    receiver.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_that_is_gone_for_a_while_costs_no_file() {
    let place = Place::new();
    let origin = origin().await;
    archive_in(&place, LOOPBACK);
    let receiver = place.start().await;
    let ids = [
        complete(&receiver, &origin, 0).await,
        complete(&receiver, &origin, 1).await,
    ];
    for id in &ids {
        archived(&receiver, id).await;
    }
    let (folder, away) = (place.data().join("results"), place.data().join("away"));
    std::fs::rename(&folder, &away).unwrap();
    let third = complete(&receiver, &origin, 2).await;
    let error = failed(&receiver, &third).await;
    assert!(error.contains("No such file or directory"), "{error}");
    assert_eq!(receiver.status("/readyz").await, Some(200));
    // An app that asks for a file in the meantime has it fetched again later.
    let (status, _) = download(&receiver, &ids[0]).await;
    assert_eq!(status, 503);

    std::fs::rename(&away, &folder).unwrap();
    for (number, id) in ids.iter().chain([&third]).enumerate() {
        archived(&receiver, id).await;
        let file = png(number.try_into().unwrap(), 100_000);
        assert_eq!(download(&receiver, id).await, (200, file), "{id}");
    }
    let measured = receiver
        .log()
        .matches("could not measure the free space")
        .count();
    assert!(measured <= 1, "{}", receiver.log_tail());
    receiver.stop().await;
}
