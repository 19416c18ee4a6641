//! Processes that deliver are killed with SIGKILL, round after round. The endpoint still receives
//! every acknowledged outcome: under the id of its event, signed, and equal to the task that
//! queries return.

use std::time::Duration;

use tokio::time::sleep;

use crate::support::campaign::{random, rounds};
use crate::support::deliveries::endpoint::Endpoint;
use crate::support::deliveries::process::{assert_delivered, deliver_to};
use crate::support::machine::needs::{Root, are_met};
use crate::support::process::Place;
use crate::support::process::load::Load;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_process_acknowledged_is_delivered_by_the_next() {
    if !are_met(Root::NotNeeded, &["python3"]) {
        return;
    }
    let (mut random, rounds) = (random(), rounds(5, 50));
    let endpoint = Endpoint::good().await;
    let place = Place::new();
    deliver_to(&place, &endpoint);
    let load = Load::new();
    let mut receiver = place.start().await;
    for _ in 0..rounds {
        let running = load.start(&receiver);
        running.reached(20).await;
        sleep(Duration::from_micros(random.u64(..150_000))).await;
        receiver.kill();
        running.stop().await;
        receiver = place.start().await;
    }
    assert_delivered(&load, &endpoint, &receiver).await;
    println!("{rounds} times killed");
}
