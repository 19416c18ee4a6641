//! The times of retries, across restarts and with clocks that jump.

use std::time::Duration;

use evolink_receiver::domain::timestamp::Timestamp;
use tokio::time::sleep;

use super::receiver::builder;
use crate::support::app::TestApp;
use crate::support::deliveries::app::outcome;
use crate::support::deliveries::endpoint::{Behaviour, Endpoint, answer};

/// Average gap in seconds after each attempt.
const GAPS: [u64; 9] = [1, 5, 30, 120, 600, 3600, 3 * 3600, 8 * 3600, 12 * 3600];

/// At least two scans: time enough for an unwanted attempt to happen.
const SOME_LOOKS: Duration = Duration::from_millis(2500);

/// Number of attempts, state and due time of the delivery.
async fn delivery(app: &TestApp) -> (i64, String, Timestamp) {
    let database = app.database().await;
    let attempts = database.value("SELECT attempts FROM delivery", &[]).await;
    let state = database.value("SELECT state FROM delivery", &[]).await;
    let due: i64 = database.value("SELECT due_at FROM delivery", &[]).await;
    (attempts, state, Timestamp::from_millis(due))
}

/// Waits until `attempts` attempts are recorded.
async fn after(app: &TestApp, attempts: usize) -> (String, Timestamp) {
    for _ in 0..1200 {
        let (made, state, due) = delivery(app).await;
        if usize::try_from(made).unwrap() == attempts {
            return (state, due);
        }
        sleep(Duration::from_millis(50)).await;
    }
    panic!("it was not tried {attempts} times");
}

async fn start(behaviour: Behaviour) -> (TestApp, Endpoint) {
    let endpoint = Endpoint::start(behaviour).await;
    let builder = builder(&[("billing", &endpoint.url())]).with_manual_clock();
    (builder.start().await, endpoint)
}

#[tokio::test]
async fn ten_attempts_in_a_day_over_restarts_and_then_it_is_dead() {
    let (mut app, endpoint) = start(answer(500, "")).await;
    outcome(&app, 1).await;
    for (attempts, gap) in (1..).zip(GAPS) {
        let (state, due) = after(&app, attempts).await;
        assert_eq!(state, "pending");
        let wait = due.since(app.clock.now());
        assert!(wait <= Duration::from_secs(2 * gap), "{attempts}: {wait:?}");
        assert_eq!(endpoint.count(), attempts);
        if attempts == 3 {
            let (ended, builder) = app.stop().await;
            ended.unwrap();
            app = builder.start().await;
            assert_eq!(delivery(&app).await.2, due);
        }
        if attempts == 4 {
            let a_little = Duration::from_millis(1);
            // The gap is random, up to four minutes, so it is practically never zero.
            let less = wait.checked_sub(a_little).expect("a gap");
            app.clock.advance(less);
            sleep(SOME_LOOKS).await;
            assert_eq!(endpoint.count(), attempts, "not before its time");
            app.clock.advance(a_little);
        } else {
            app.clock.advance(wait);
        }
    }
    assert_eq!(after(&app, 10).await.0, "dead");
    app.clock.advance(Duration::from_hours(1000));
    sleep(SOME_LOOKS).await;
    let received = endpoint.received();
    assert_eq!(received.len(), 10);
    assert!(received.iter().all(|one| one.id() == received[0].id()));
}

/// Failures of the store do not count as failures of the endpoint.
#[tokio::test]
async fn what_cannot_be_read_uses_up_no_attempt() {
    let (app, endpoint) = start(answer(500, "")).await;
    outcome(&app, 1).await;
    let (_, due) = after(&app, 1).await;
    endpoint.behave(answer(200, ""));
    let database = app.database().await;
    // This takes away the bodies of tasks, and nothing more that a delivery needs.
    database
        .execute("ALTER TABLE observation RENAME TO away")
        .await;
    app.clock.advance(due.since(app.clock.now()));
    sleep(SOME_LOOKS).await;
    let (attempts, state, _) = delivery(&app).await;
    assert_eq!(
        (attempts, state.as_str(), endpoint.count()),
        (1, "pending", 1)
    );
    database
        .execute("ALTER TABLE away RENAME TO observation")
        .await;
    endpoint.has(2).await;
    assert_eq!(after(&app, 2).await.0, "delivered");
}

#[tokio::test]
async fn a_2xx_with_many_header_lines_is_a_delivery() {
    let headers = "x-line: a\n".repeat(500);
    let (app, endpoint) = start(answer(200, &headers)).await;
    outcome(&app, 1).await;
    endpoint.has(1).await;
    assert_eq!(after(&app, 1).await.0, "delivered");
}

#[tokio::test]
async fn a_retry_after_of_an_endpoint_is_honoured_for_at_most_an_hour() {
    for (wish, seconds) in [("7", 7), ("1000000000", 3600)] {
        let headers = format!("retry-after: {wish}\n");
        let (app, endpoint) = start(answer(429, &headers)).await;
        outcome(&app, 1).await;
        let (_, due) = after(&app, 1).await;
        assert_eq!(due.since(app.clock.now()), Duration::from_secs(seconds));
        endpoint.behave(answer(200, ""));
        app.clock.advance(Duration::from_secs(seconds));
        endpoint.has(2).await;
    }
}

#[tokio::test]
async fn what_a_clock_ten_years_ahead_has_planned_is_sent_at_once() {
    let endpoint = Endpoint::start(answer(500, "")).await;
    let builder = builder(&[("billing", &endpoint.url())]).with_manual_clock();
    builder.clock().advance(Duration::from_hours(10 * 365 * 24));
    let app = builder.start().await;
    outcome(&app, 1).await;
    after(&app, 1).await;
    let (_, builder) = app.stop().await;
    endpoint.behave(answer(200, ""));
    let app = builder.with_manual_clock().start().await;
    endpoint.has(2).await;
    for _ in 0..1200 {
        if delivery(&app).await.1 == "delivered" {
            return;
        }
        sleep(Duration::from_millis(50)).await;
    }
    panic!("it is not recorded");
}
