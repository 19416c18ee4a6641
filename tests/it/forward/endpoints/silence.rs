//! Thousands of addresses that apps named and that never answer.

use std::time::Instant;

use crate::forward::receiver::builder;
use crate::support::campaign::rounds;
use crate::support::deliveries::app::outcome;
use crate::support::deliveries::endpoint::{Behaviour, Endpoint};

/// Deliveries to the standing endpoint, made once attempts to silent addresses fill their share of
/// the pool.
const OUTCOMES: usize = 20;

/// Silent addresses for each event.
const ADDRESSES: usize = 1000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standing_endpoint_does_not_wait_for_a_thousand_silent_addresses_of_apps() {
    let events = rounds(1, 5) as usize;
    let (good, silent) = (
        Endpoint::good().await,
        Endpoint::start(Behaviour::Silence).await,
    );
    let app = builder(&[("good", &good.url())])
        .with(|config| config.forward.allowed_hosts = vec![silent.address.to_string()])
        .start()
        .await;
    for number in 0..events {
        outcome(&app, number).await;
    }
    good.has(events).await;
    // Give each delivery a host of its own, because hosts have separate queues.
    let database = app.database().await;
    for number in 1..=ADDRESSES {
        let owe = format!(
            "INSERT INTO delivery (id, event_seq, task_seq, endpoint, url, state, attempts, due_at, made_at)
                SELECT id + {number}, event_seq, task_seq, 'http://silent-{number}-' || event_seq || ':80', '{}', 'pending', 0, made_at, made_at
                FROM delivery WHERE endpoint = 'good'",
            silent.url()
        );
        database.execute(&owe).await;
    }
    silent.has(96).await;
    let mut took = Vec::new();
    for number in events..events + OUTCOMES {
        let began = Instant::now();
        outcome(&app, number).await;
        let received = good.has(number + 1).await;
        took.push(received[number].at.saturating_duration_since(began));
    }
    took.sort_unstable();
    let (half, longest) = (took[OUTCOMES / 2], took[OUTCOMES - 1]);
    let called = silent.count();
    println!(
        "beside {} silent addresses, of which {called} were called: p50 {half:?}, longest {longest:?}",
        events * ADDRESSES
    );
    // Not even one round of all addresses was completed, which takes minutes.
    assert!(called < ADDRESSES, "{called}");
}
