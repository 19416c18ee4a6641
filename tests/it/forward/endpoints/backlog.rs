//! A dead endpoint with many pending deliveries.

use std::time::Instant;

use futures_util::{StreamExt as _, stream};
use serde_json::json;

use crate::forward::receiver::builder;
use crate::support::campaign::rounds;
use crate::support::deliveries::app::{outcome, task_id};
use crate::support::deliveries::endpoint::Endpoint;
use crate::support::net::ports::free_port;

const PENDING: &str = "SELECT count(*) FROM delivery WHERE state = 'pending' AND endpoint = 'dead'";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_endpoint_with_ten_thousand_pending_deliveries_delays_nobody() {
    let backlog = rounds(1000, 10_000) as usize;
    let good = Endpoint::good().await;
    let dead = format!("http://127.0.0.1:{}/", free_port());
    let app = builder(&[("dead", &dead), ("good", &good.url())])
        .with(|config| {
            config.forward.endpoints[1].events = vec!["task.failed".parse().unwrap()];
        })
        .start()
        .await;
    stream::iter(0..backlog)
        .for_each_concurrent(64, async |number| {
            outcome(&app, number).await;
        })
        .await;
    // Repeat with a new process, which knows only what is in the database.
    let (ended, builder) = app.stop().await;
    ended.unwrap();
    let app = builder.start().await;
    let database = app.database().await;
    let token = app.standing_token("shop");
    let mut took = Vec::new();
    for number in 0..50 {
        let failed = json!({"id": task_id(backlog + number), "status": "failed"}).to_string();
        assert_eq!(app.callback_result(&token, failed).await, "recorded");
        let acknowledged = Instant::now();
        let received = good.has(number + 1).await;
        took.push(received[number].at.saturating_duration_since(acknowledged));
    }
    took.sort_unstable();
    println!(
        "beside {backlog} pending: p50 {:?}, longest {:?}",
        took[25], took[49]
    );
    let pending: i64 = database.value(PENDING, &[]).await;
    let attempts: i64 = database
        .value(
            "SELECT CAST(sum(attempts) AS BIGINT) FROM delivery WHERE endpoint = 'dead'",
            &[],
        )
        .await;
    println!("{pending} are pending after {attempts} attempts");
    assert!(pending >= i64::try_from(backlog).unwrap());
    // Per process: eight attempts at once, those that began before five had failed, and then rounds
    // of four after growing pauses.
    assert!(
        attempts < 150,
        "the dead endpoint is not spared: {attempts}"
    );
}
