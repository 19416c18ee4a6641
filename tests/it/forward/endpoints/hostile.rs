//! Hostile endpoints delay no other endpoint. They never answer, answer one byte a second or
//! without end, redirect to a forbidden address, or answer 410.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::forward::receiver::builder;
use crate::support::app::TestApp;
use crate::support::deliveries::app::outcome;
use crate::support::deliveries::endpoint::{Behaviour, Endpoint, answer};

const GOOD: usize = 15;
const OUTCOMES: usize = 10;

/// Duration of an attempt to an endpoint that never answers.
const STUCK: Duration = Duration::from_secs(10);

/// Returns the time until every good endpoint had every outcome. Prints how long after their
/// acknowledgements they were delivered.
async fn deliver_to_good(what: &str, bad: &[Endpoint]) -> (Duration, TestApp) {
    let mut good = Vec::new();
    for _ in 0..GOOD {
        good.push(Endpoint::good().await);
    }
    let urls = bad.iter().chain(&good).map(Endpoint::url);
    let names = (0..).map(|number| format!("endpoint-{number:02}"));
    let endpoints: Vec<_> = names.zip(urls).collect();
    let endpoints: Vec<_> = endpoints
        .iter()
        .map(|(name, url)| (name.as_str(), url.as_str()))
        .collect();
    let app = builder(&endpoints).start().await;
    let began = Instant::now();
    let mut acknowledged = HashMap::new();
    for number in 0..OUTCOMES {
        acknowledged.insert(outcome(&app, number).await, Instant::now());
    }
    let mut took = Vec::new();
    for endpoint in &good {
        for delivery in endpoint.has(OUTCOMES).await {
            let task = delivery.json()["id"].as_str().unwrap().to_owned();
            took.push(delivery.at.saturating_duration_since(acknowledged[&task]));
        }
        assert_eq!(endpoint.count(), OUTCOMES);
    }
    took.sort_unstable();
    let (half, most) = (took[took.len() / 2], took[took.len() * 99 / 100]);
    println!(
        "{what}: {} deliveries, p50 {half:?}, p99 {most:?}",
        took.len()
    );
    (began.elapsed(), app)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_endpoints_delay_no_other() {
    let (alone, _app) = deliver_to_good("alone", &[]).await;
    let metadata = "location: http://169.254.169.254/latest/meta-data/\n";
    let mut bad = Vec::new();
    for behaviour in [
        Behaviour::Silence,
        Behaviour::Drip,
        Behaviour::Flood,
        answer(302, metadata),
        answer(410, ""),
    ] {
        bad.push(Endpoint::start(behaviour).await);
    }
    let began = Instant::now();
    let (beside, app) = deliver_to_good("beside five bad ones", &bad).await;
    let silent = bad[0].count();
    // At most eight attempts run at once until the first of them times out.
    assert!(silent <= 8 || began.elapsed() >= STUCK, "{silent}");
    // On a slow machine the deliveries are slow without the bad endpoints too.
    assert!(beside < STUCK.max(alone * 5), "{beside:?}, alone {alone:?}");
    let delivered = |name: &str| {
        app.counter(&format!(
            "evolink_receiver_deliveries_total{{endpoint=\"{name}\",result=\"delivered\"}}"
        ))
    };
    assert_eq!(delivered("endpoint-00") + delivered("endpoint-01"), 0);
    assert_eq!(delivered("endpoint-03") + delivered("endpoint-04"), 0);
    // Each of the ten endless answers sent no more than the system's buffers hold.
    assert!(bad[2].flooded() < 160 << 20, "{}", bad[2].flooded());
}

/// More silent endpoints than the pool has attempts for, if each got as many as it wants.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forty_endpoints_that_never_answer_leave_room_for_the_others() {
    let (alone, _app) = deliver_to_good("alone", &[]).await;
    let mut bad = Vec::new();
    for _ in 0..40 {
        bad.push(Endpoint::start(Behaviour::Silence).await);
    }
    let began = Instant::now();
    let (beside, _app) = deliver_to_good("beside forty silent ones", &bad).await;
    let under_way: usize = bad.iter().map(Endpoint::count).sum();
    let is_first_of_each = began.elapsed() < STUCK;
    assert!(beside < STUCK.max(alone * 5), "{beside:?}, alone {alone:?}");
    println!("{under_way} attempts at those that never answer");
    assert!(under_way < 128 || !is_first_of_each, "{under_way}");
}
