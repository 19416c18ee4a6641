//! Recipe R1: SIGKILL at a random moment under load, restart, check the store.

use std::time::Duration;

use tokio::time::sleep;

use crate::support::campaign::{random, rounds};
use crate::support::process::Place;
use crate::support::process::load::Load;
use crate::support::store::check;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_is_there_after_sigkill() {
    let mut random = random();
    let rounds = rounds(20, 200);
    let place = Place::new();
    let load = Load::new();
    let mut receiver = place.start().await;
    for round in 1..=rounds {
        let running = load.start(&receiver);
        running.reached(1).await;
        sleep(Duration::from_micros(random.u64(..150_000))).await;
        receiver.kill();
        running.stop().await;
        if random.u8(..4) == 0 {
            // Kill it once more while it recovers from the previous kill.
            let (mut starting, _) = place.spawn();
            sleep(Duration::from_micros(random.u64(..60_000))).await;
            starting.kill().unwrap();
            starting.wait().unwrap();
        }
        receiver = place.start().await;
        let faults = check::faults(place.store(), &load.acknowledged()).await;
        assert!(faults.is_empty(), "round {round}: {faults:#?}");
    }
    println!(
        "{} callbacks acknowledged in {rounds} rounds, none lost",
        load.acknowledged().len()
    );
}
