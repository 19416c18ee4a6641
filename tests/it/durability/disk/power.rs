//! Recipes R3 and R4: the power fails at a random moment under load, and afterwards every
//! acknowledged callback is there. On a disk that only claims to sync, the same test finds a loss,
//! which proves that the test can find one.
//!
//! The tests run twice: on a file system that is shut down, which needs root, and on a simulated
//! disk, which is fast and does not.

use std::time::Duration;

use tokio::time::sleep;

use super::shadow::{self, Shadow, Sync};
use crate::support::campaign::{random, rounds};
use crate::support::machine::needs::{self, Root};
use crate::support::process::Place;
use crate::support::process::disk::Disk;
use crate::support::process::load::Load;
use crate::support::store::check;

/// Disk size, with space for all rounds of a long run.
const DISK: &str = "256M";

/// The system may happen to write everything just before a power cut, but hardly in every one of
/// these rounds.
const ROUNDS_WITHOUT_SYNC: u32 = 10;

/// A disk whose power can be cut.
trait Power {
    /// Cuts the power: nothing reaches the disk any more, and data that was only in the system's
    /// memory is lost.
    fn cut(&self);

    /// Restores the data folder to what the disk contains. The receiver is already gone.
    fn restore(&self);
}

impl Power for Disk {
    fn cut(&self) {
        self.cut_power();
    }

    fn restore(&self) {
        self.restore_power();
    }
}

impl Power for Shadow {
    /// On the simulated disk, the kill is the power cut.
    fn cut(&self) {}

    fn restore(&self) {
        self.restore_power();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_is_there_after_a_power_cut() {
    if let Some((disk, place)) = Disk::with_place(DISK) {
        nothing_is_lost(&disk, &place, rounds(5, 50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_is_there_after_a_simulated_power_cut() {
    if let Some((shadow, place)) = Shadow::with_place(Sync::Done) {
        nothing_is_lost(&shadow, &place, rounds(10, 200)).await;
    }
}

/// Tests the test (R4): `eatmydata` turns every sync into a no-op, as SQLite does with
/// `synchronous=OFF`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_sync_the_power_cut_test_finds_what_is_lost() {
    if !needs::are_met(Root::Needed, &["eatmydata"]) {
        return;
    }
    if let Some((disk, mut place)) = Disk::with_place(DISK) {
        place.launch_through(&["eatmydata"]);
        a_loss_is_found(&disk, &place).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_sync_the_simulated_power_cut_test_finds_what_is_lost() {
    if let Some((shadow, place)) = Shadow::with_place(Sync::OnlyClaimed) {
        a_loss_is_found(&shadow, &place).await;
    }
}

/// A reliable disk does not help either if the program does not ask it to sync (R4).
/// `synchronous=NORMAL` syncs the log only at a checkpoint, some 50 ms later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_sync_only_at_checkpoints_the_power_cut_test_finds_what_is_lost() {
    if let Some((disk, mut place)) = Disk::with_place(DISK) {
        let database = disk.path("receiver.db");
        let Some(_library) = shadow::lie(&mut place, &database, Sync::ClaimedAtCommit) else {
            return;
        };
        a_loss_is_found(&disk, &place).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_sync_only_at_checkpoints_the_simulated_power_cut_test_finds_what_is_lost() {
    if let Some((shadow, place)) = Shadow::with_place(Sync::ClaimedAtCommit) {
        a_loss_is_found(&shadow, &place).await;
    }
}

async fn nothing_is_lost(power: &impl Power, place: &Place, rounds: u32) {
    let mut random = random();
    let load = Load::new();
    for round in 1..=rounds {
        let faults = power_cut(power, place, &load, &mut random, true).await;
        assert!(faults.is_empty(), "round {round}: {faults:#?}");
    }
    let acknowledged = load.acknowledged().len();
    println!("{acknowledged} callbacks acknowledged in {rounds} rounds, none lost");
}

/// This test must find the loss, not the receiver. So the mark, by which the receiver would notice
/// it, is removed.
async fn a_loss_is_found(power: &impl Power, place: &Place) {
    let mut random = random();
    let load = Load::new();
    for round in 1..=ROUNDS_WITHOUT_SYNC {
        let faults = power_cut(power, place, &load, &mut random, false).await;
        // A store that cannot be read at all is a failure of this test, not a loss.
        let is_loss = |fault: &&String| fault.contains(check::LOST) || fault.contains(REFUSED);
        if let Some(loss) = faults.iter().find(is_loss) {
            println!("round {round} finds, as it must: {loss}");
            return;
        }
        assert!(faults.is_empty(), "round {round}: {faults:#?}");
    }
    panic!(
        "{ROUNDS_WITHOUT_SYNC} power cuts without sync and nothing is lost: this test finds nothing"
    );
}

/// Without sync the store may be so damaged that the receiver refuses it.
const REFUSED: &str = "it does not start again";

/// Runs one round, from the start to the faults found after the next start.
async fn power_cut(
    power: &impl Power,
    place: &Place,
    load: &Load,
    random: &mut fastrand::Rng,
    is_mark_kept: bool,
) -> Vec<String> {
    let mut receiver = place.start().await;
    let running = load.start(&receiver);
    running.reached(20).await;
    sleep(Duration::from_micros(random.u64(..150_000))).await;
    // Without power nothing runs, so freeze the receiver first. A receiver that runs while the file
    // system is being shut down answers 2xx for callbacks that are lost afterwards. Beside six busy
    // loops that happened in 2 of 23 runs; with the receiver frozen, in none of 23 (the two
    // variants run in turn). The likely reason is that a sync reports success while ext4 aborts its
    // transaction; this was not traced.
    receiver.freeze();
    power.cut();
    receiver.kill();
    running.stop().await;
    power.restore();
    if !is_mark_kept {
        let _ = std::fs::remove_file(place.data().join("receiver.db.mark"));
    }
    match place.try_start().await {
        Ok(_receiver) => check::faults(place.store(), &load.acknowledged()).await,
        Err(refusal) => vec![format!("{REFUSED}: {refusal}")],
    }
}
