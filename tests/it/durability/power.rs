//! Recipes R3 and R4: the power fails at a random moment under load. What was acknowledged is there afterwards; and with a
//! disk that only says that it has synced, the same test finds the loss, which shows that it can.

use std::time::Duration;

use tokio::time::sleep;

use super::disk::Disk;
use super::load::Load;
use super::receiver::Place;
use super::{check, random, rounds};
use crate::support::needs::{self, Root};

/// Room for all rounds of a long run.
const DISK: &str = "256M";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_is_there_after_a_power_cut() {
    let Some((disk, place)) = Disk::with_place(DISK) else {
        return;
    };
    let mut random = random();
    let rounds = rounds(5, 50);
    let load = Load::new();
    for round in 1..=rounds {
        let faults = power_cut(&disk, &place, &load, &mut random).await;
        assert!(faults.is_empty(), "round {round}: {faults:#?}");
    }
    println!(
        "{} callbacks acknowledged in {rounds} rounds, none lost",
        load.acknowledged().len()
    );
}

/// The test of the test (R4). `eatmydata` makes every sync a lie, which is what SQLite does with `synchronous=OFF`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_sync_the_power_cut_test_finds_what_is_lost() {
    if !needs::are_met(Root::Needed, &["eatmydata"]) {
        return;
    }
    let Some((disk, mut place)) = Disk::with_place(DISK) else {
        return;
    };
    place.launch_through(&["eatmydata"]);
    let mut random = random();
    let load = Load::new();
    // The system may have written everything by itself just before a cut, but hardly ten times running.
    for round in 1..=10 {
        let faults = power_cut(&disk, &place, &load, &mut random).await;
        // That the store cannot even be looked at would be a fault of this test.
        let mut losses = faults.iter().filter(|fault| fault.contains("are lost"));
        if let Some(loss) = losses.next() {
            println!("round {round} finds, as it must: {loss}");
            return;
        }
        assert!(faults.is_empty(), "round {round}: {faults:#?}");
    }
    panic!("ten power cuts without sync and nothing is lost: this test finds nothing");
}

/// One round, from start to what is wrong after the next start.
async fn power_cut(
    disk: &Disk,
    place: &Place,
    load: &Load,
    random: &mut fastrand::Rng,
) -> Vec<String> {
    let mut receiver = place.start().await;
    let running = load.start(&receiver);
    running.reached(20).await;
    sleep(Duration::from_micros(random.u64(..150_000))).await;
    disk.cut_power();
    receiver.kill();
    running.stop().await;
    disk.restore_power();
    match place.try_start().await {
        Ok(_receiver) => check::faults(&place.database(), &load.acknowledged()).await,
        Err(refusal) => vec![format!("it does not start again: {refusal}")],
    }
}
