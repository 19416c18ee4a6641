//! 410 Gone: a single such answer may come from a gateway and has no lasting effect. An endpoint
//! that keeps answering 410 is disabled, and its pending deliveries are held.

use std::time::Duration;

use evolink_receiver::domain::delivery::HELD_MAX;
use evolink_receiver::domain::delivery::gone::SPAN;
use reqwest::Method;
use serde_json::Value;
use tokio::time::sleep;

use crate::forward::receiver::{builder, start};
use crate::support::app::TestApp;
use crate::support::deliveries::app::outcome;
use crate::support::deliveries::endpoint::{Endpoint, answer};
use crate::support::store::database::Database;

/// Several scans: time enough for an unwanted attempt to happen.
const SOME_SCANS: Duration = Duration::from_millis(2500);

const MINUTE: Duration = Duration::from_mins(1);

/// Waits until the database answers `sql` with `wanted`.
async fn counted(database: &Database, sql: &str, wanted: i64) {
    let mut found = -1;
    for _ in 0..1200 {
        found = database.value(sql, &[]).await;
        if found == wanted {
            return;
        }
        sleep(Duration::from_millis(50)).await;
    }
    panic!("{sql}: {found}, not {wanted}");
}

fn in_state(state: &str) -> String {
    format!("SELECT count(*) FROM delivery WHERE state = '{state}'")
}

/// The deliveries that the API lists under `state`.
async fn listed(app: &TestApp, state: &str) -> Vec<Value> {
    let (status, page) = app.get(&format!("/v1/deliveries?state={state}")).await;
    assert_eq!(status, 200, "{page}");
    page["data"].as_array().unwrap().clone()
}

async fn retry(app: &TestApp, path: &str) {
    let path = format!("/v1/deliveries/{path}");
    let answer = app.request(Method::POST, &path).send().await.unwrap();
    assert_eq!(answer.status(), 200);
}

#[tokio::test]
async fn a_gateway_that_answers_410_for_a_moment_loses_nothing() {
    let endpoint = Endpoint::start(answer(410, "")).await;
    let app = start(&endpoint).await;
    let database = app.database().await;
    for number in 1..=12 {
        outcome(&app, number).await;
    }
    counted(&database, "SELECT count(*) FROM endpoint_gone", 3).await;
    assert!(listed(&app, "pending").await.is_empty());
    let held = listed(&app, "held").await;
    assert_eq!(held.len(), 12);
    for one in &held {
        assert_eq!(
            (&one["state"], &one["endpoint_disabled"]),
            (&"held".into(), &false.into())
        );
    }
    endpoint.behave(answer(200, ""));
    counted(&database, &in_state("delivered"), 12).await;
    assert_eq!(
        database
            .value::<i64>("SELECT count(*) FROM endpoint_gone", &[])
            .await,
        0
    );
    assert!(listed(&app, "held").await.is_empty());
}

/// An endpoint that has answered 410 to four deliveries over five minutes, and works again now.
async fn disabled() -> (TestApp, Endpoint, Database) {
    let endpoint = Endpoint::start(answer(410, "")).await;
    let app = builder(&[("billing", &endpoint.url())])
        .with_manual_clock()
        .start()
        .await;
    let database = app.database().await;
    for number in 1..=4 {
        outcome(&app, number).await;
    }
    // The gap before the next attempt is random, and may be nothing.
    let tried = |attempts| format!("SELECT count(*) FROM delivery WHERE attempts >= {attempts}");
    counted(&database, &tried(1), 4).await;
    // The answers are about four deliveries, but all at one moment.
    app.clock.advance(MINUTE);
    counted(&database, &tried(2), 4).await;
    counted(&database, "SELECT count(*) FROM endpoint", 0).await;
    app.clock.advance(SPAN.saturating_sub(MINUTE));
    counted(&database, "SELECT count(*) FROM endpoint", 1).await;
    // An attempt that is still running would be answered 200, which enables the endpoint.
    let under_way = "SELECT count(*) FROM delivery WHERE holder IS NOT NULL";
    counted(&database, under_way, 0).await;
    endpoint.behave(answer(200, ""));
    (app, endpoint, database)
}

#[tokio::test]
async fn an_endpoint_that_answers_410_for_minutes_is_disabled_and_its_deliveries_are_held() {
    let (app, endpoint, database) = disabled().await;
    for number in 5..=7 {
        outcome(&app, number).await;
    }
    sleep(SOME_SCANS).await;
    let (sent, held) = (endpoint.count(), listed(&app, "held").await);
    assert_eq!(held.len(), 7);
    assert!(held.iter().all(|one| one["endpoint_disabled"] == true));
    assert!(listed(&app, "pending").await.is_empty());
    // Another process knows that it is disabled and sends nothing, whatever is due.
    let (_, builder) = app.stop().await;
    let app = builder.start().await;
    app.clock.advance(Duration::from_hours(24));
    sleep(SOME_SCANS).await;
    assert_eq!(
        (endpoint.count(), listed(&app, "held").await.len()),
        (sent, 7)
    );
    // An operator retries one delivery, and then all are delivered.
    retry(&app, &format!("{}/retry", held[0]["id"])).await;
    counted(&database, &in_state("delivered"), 7).await;
    assert_eq!(endpoint.count(), sent + 7);
    counted(&database, "SELECT count(*) FROM endpoint", 0).await;
}

#[tokio::test]
async fn held_deliveries_die_by_age_alone_and_can_be_sent_after_that() {
    let (app, endpoint, database) = disabled().await;
    let sent = endpoint.count();
    // Each is due within the next minute.
    app.clock.advance(HELD_MAX.saturating_sub(MINUTE));
    sleep(SOME_SCANS).await;
    counted(&database, &in_state("pending"), 4).await;
    app.clock.advance(Duration::from_hours(1));
    counted(&database, &in_state("dead"), 4).await;
    assert_eq!(endpoint.count(), sent);
    let dead = listed(&app, "dead").await;
    assert_eq!(
        dead[0]["last_error"],
        "its endpoint answered 410 and is disabled"
    );
    assert_eq!(dead[0]["last_status"], 410);
    retry(&app, "retry?endpoint=billing").await;
    counted(&database, &in_state("delivered"), 4).await;
}

#[tokio::test]
async fn a_bulk_retry_enables_a_disabled_endpoint_that_has_no_dead_deliveries() {
    let (app, _endpoint, database) = disabled().await;
    app.clock.advance(MINUTE);
    retry(&app, "retry?endpoint=billing").await;
    counted(&database, &in_state("delivered"), 4).await;
}
