//! Three processes deliver what any of them records. One is killed, round after round, and the others, or it itself when it
//! is back, send what it had taken.

use std::time::Duration;

use tokio::time::sleep;

use crate::durability::load::Load;
use crate::durability::receiver::Place;
use crate::durability::{random, rounds};
use crate::forward::endpoint::Endpoint;
use crate::forward::kill::{assert_delivered, deliver_to};
use crate::support::needs::{Root, are_met};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_replica_acknowledged_is_delivered() {
    if !are_met(Root::NotNeeded, &["python3"]) {
        return;
    }
    let Some(first) = Place::on_postgres() else {
        return;
    };
    let (mut random, rounds) = (random(), rounds(5, 50));
    let endpoint = Endpoint::good().await;
    let places = [first.clone(), first.replica(), first.replica()];
    for place in &places {
        deliver_to(place, &endpoint);
    }
    // The first makes what the others then have too.
    let mut receivers = vec![places[0].start().await];
    for place in &places[1..] {
        receivers.push(place.start().await);
    }
    let load = Load::new();
    for _ in 0..rounds {
        let running = load.start_over(&receivers.iter().collect::<Vec<_>>());
        running.reached(60).await;
        sleep(Duration::from_micros(random.u64(..150_000))).await;
        let killed = random.usize(..3);
        receivers[killed].kill();
        running.stop().await;
        receivers[killed] = places[killed].start().await;
    }
    assert_delivered(&load, &endpoint, &receivers[0]).await;
    println!("{rounds} replicas killed");
}
