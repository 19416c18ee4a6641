//! Three processes deliver events that any of them records. One is killed, round after round; the
//! others, or the same one after its restart, send the deliveries that it had claimed. While all
//! are alive, no attempt is made twice.

use std::time::Duration;

use tokio::time::sleep;

use crate::support::app::TestAppBuilder;
use crate::support::campaign::{random, rounds};
use crate::support::deliveries::app::{delivering, outcome};
use crate::support::deliveries::endpoint::{Behaviour, Endpoint, answer};
use crate::support::deliveries::process::{assert_delivered, deliver_to};
use crate::support::machine::needs::{Root, are_met};
use crate::support::process::Place;
use crate::support::process::load::Load;
use crate::support::store::TestStore;
use crate::support::until::until;

const OUTCOMES: usize = 30;

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
    // The first start creates what the others then use too.
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

#[tokio::test]
async fn each_attempt_is_made_by_one_replica() {
    let Some(store) = TestStore::on_postgres() else {
        return;
    };
    // Without `Retry-After` the gap may be so short that it ends at once, although the clock stands
    // still.
    let (bad, good) = (answer(500, "retry-after: 5\n"), answer(200, ""));
    let endpoint = Endpoint::start(bad.clone()).await;
    let builder = TestAppBuilder::new(tempfile::tempdir().unwrap(), store).with_manual_clock();
    let builder = delivering(builder, &[("billing", &endpoint.url())]);
    let mut apps = Vec::new();
    for _ in 0..3 {
        apps.push(builder.clone().start().await);
    }
    // Successful deliveries between the failed ones keep the circuit breakers closed.
    let failed = "evolink_receiver_deliveries_total{endpoint=\"billing\",result=\"failed\"}";
    let ok = "evolink_receiver_deliveries_total{endpoint=\"billing\",result=\"delivered\"}";
    let count = |series: &str| apps.iter().map(|app| app.counter(series)).sum::<u64>();
    for number in 0..OUTCOMES {
        let behaviour = if number % 3 == 2 { &good } else { &bad };
        endpoint.behave(behaviour.clone());
        outcome(&apps[number / 3 % 3], number).await;
        let ended = u64::try_from(number).unwrap() + 1;
        until("an attempt", || count(failed) + count(ok) >= ended).await;
    }
    assert_eq!(endpoint.count(), OUTCOMES);
    let failures = usize::try_from(count(failed)).unwrap();
    // Answer slowly enough that all processes find everything that is due.
    let good = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_owned();
    endpoint.behave(Behaviour::Slowly(Duration::from_secs(3), good));
    apps[0].clock.advance(Duration::from_secs(10));
    let all = u64::try_from(OUTCOMES).unwrap();
    until("all deliveries", || count(ok) >= all).await;
    assert_eq!(endpoint.count(), OUTCOMES + failures);
}
