//! Polls that run when the process is asked to stop.

use std::sync::atomic::{AtomicBool, Ordering};

use evolink_receiver::config::Config;

use super::{ID, body, builder, polls, seconds, until_recorded};
use crate::support::app::TestApp;
use crate::support::net::raw_server::{End, RawServer, http};
use crate::support::until::until;

const DUE: &str = "SELECT next_poll_at - polled_at FROM task";

fn answer(request: &str) -> Vec<u8> {
    let status = if request.starts_with("POST ") {
        "pending"
    } else {
        "completed"
    };
    http(200, &[], &body(ID, status))
}

/// A receiver that has just polled its only task.
async fn asking(evolink: &RawServer, change: impl FnOnce(&mut Config)) -> TestApp {
    let url = evolink.url.parse().unwrap();
    let builder = builder().with(|config| config.evolink.base_url = url);
    let app = builder.with(change).start().await;
    app.submitted("a").await;
    app.clock.advance(seconds(15));
    until("the poll", || polls(evolink) == 1).await;
    app
}

#[tokio::test]
async fn a_poll_under_way_at_a_stop_is_waited_for_and_recorded() {
    let evolink = RawServer::start_slow(seconds(1), answer).await;
    let app = asking(&evolink, |_| {}).await;
    let (ended, builder) = app.stop().await;
    ended.unwrap();
    let database = builder.store.connect().await;
    let ended = "SELECT count(*) FROM task WHERE state = 'completed' AND source = 'poll'";
    assert_eq!(database.value::<i64>(ended, &[]).await, 1);
    assert_eq!(polls(&evolink), 1);
}

#[tokio::test]
async fn a_poll_that_is_not_answered_before_the_stop_is_over_is_given_back() {
    let is_first = AtomicBool::new(true);
    let stalling_once = move |request: &str| {
        let stalls = request.starts_with("GET ") && is_first.swap(false, Ordering::Relaxed);
        if stalls { Vec::new() } else { answer(request) }
    };
    let evolink = RawServer::start_answering(stalling_once, End::Open).await;
    let soon = |config: &mut Config| {
        config.public.request_timeout = seconds(1);
        config.public.drain_timeout = seconds(2);
    };
    let app = asking(&evolink, soon).await;
    let database = app.database().await;
    let lease: i64 = database.value(DUE, &[]).await;
    assert!(lease > 10_000, "{lease}");
    database.close().await;
    let (ended, builder) = app.stop().await;
    ended.unwrap();
    let database = builder.store.connect().await;
    let gap: i64 = database.value(DUE, &[]).await;
    assert_eq!(gap, 3000, "`reconcile.interval_min`, not the lease");
    let counted: i64 = database.value("SELECT polls FROM task", &[]).await;
    assert_eq!(counted, 0, "it was no poll that counts");
    database.close().await;
    let app = builder.start().await;
    app.clock.advance(seconds(3));
    until("the next poll", || polls(&evolink) == 2).await;
    until_recorded(
        &app,
        "SELECT count(*) FROM task WHERE state = 'completed'",
        1,
    )
    .await;
}
