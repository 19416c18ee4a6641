//! The power fails at a random moment: what was not synced is lost.

use super::Campaign;
use crate::support::campaign::{random, rounds};
use crate::support::process::disk::Disk;

/// The size of the disk, which holds the files of all rounds of a long run.
const DISK: &str = "512M";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_archived_is_whole_after_a_power_cut() {
    let Some((disk, place)) = Disk::with_place(DISK) else {
        return;
    };
    let (mut random, rounds) = (random(), rounds(3, 50));
    let mut campaign = Campaign::at(place).await;
    for _ in 0..rounds {
        let mut receiver = campaign.place.start().await;
        campaign.load(&receiver, &mut random).await;
        // Without power nothing runs, so freeze the receiver first.
        receiver.freeze();
        disk.cut_power();
        receiver.kill();
        disk.restore_power();
        campaign.assert_true().await;
    }
    campaign.end().await;
}
