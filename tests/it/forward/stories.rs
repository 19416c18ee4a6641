//! The content of a delivery, and the effect of each answer.

use futures_util::{StreamExt as _, stream};
use serde_json::json;

use super::receiver::{builder, start, task_object};
use crate::support::app::TestApp;
use crate::support::deliveries::app::{outcome, task_id};
use crate::support::deliveries::endpoint::{Behaviour, Endpoint, answer};
use crate::support::store::database::Database;
use crate::support::until::until;

pub const DELIVERED: &str =
    "evolink_receiver_deliveries_total{endpoint=\"billing\",result=\"delivered\"}";
pub const FAILED: &str =
    "evolink_receiver_deliveries_total{endpoint=\"billing\",result=\"failed\"}";
const OTHER: &str = "evolink_receiver_deliveries_total{endpoint=\"other\",result=\"failed\"}";

async fn counts(app: &TestApp, series: &str, number: u64) {
    let what = format!("{series} {number}");
    until(&what, || app.counter(series) >= number).await;
    assert_eq!(app.counter(series), number, "{series}");
}

#[tokio::test]
async fn an_outcome_is_delivered_once_as_whoever_asks_for_the_task_gets_it() {
    let endpoint = Endpoint::good().await;
    let app = start(&endpoint).await;
    let token = app.standing_token("shop");
    let going_on = json!({"id": task_id(1), "status": "processing", "progress": 3}).to_string();
    assert_eq!(app.callback_result(&token, going_on).await, "recorded");
    let id = outcome(&app, 1).await;
    let received = endpoint.has(1).await.remove(0);
    assert_eq!(received.text(), task_object(&app, &id).await);
    assert_eq!(received.path, "/hook?a=b");
    assert_eq!(received.header("content-type"), "application/json");
    let agent = received.header("user-agent");
    assert!(agent.starts_with("evolink-receiver/"), "{agent}");
    // The events are submitted, processing and completed.
    let database = app.database().await;
    let id_of_event = "SELECT name || '-' || seq FROM epoch, event WHERE type = 'task.completed'";
    let event_id: String = database.value(id_of_event, &[]).await;
    assert_eq!(received.id(), event_id);
    counts(&app, DELIVERED, 1).await;
    // A repeated callback is not another outcome.
    let again = json!({"id": id, "status": "completed", "progress": 100, "results": ["https://files.evolink.ai/1.webp"]});
    assert_eq!(
        app.callback_result(&token, again.to_string()).await,
        "duplicate"
    );
    outcome(&app, 2).await;
    endpoint.has(2).await;
    counts(&app, DELIVERED, 2).await;
    assert_eq!(endpoint.count(), 2);
    assert_eq!(endpoint.connections(), 1, "it is kept open");
    let (ended, _) = app.stop().await;
    ended.unwrap();
}

#[tokio::test]
async fn an_endpoint_gets_the_events_that_it_wants() {
    let (all, failures) = (Endpoint::good().await, Endpoint::good().await);
    let app = builder(&[("all", &all.url()), ("failures", &failures.url())])
        .with(|config| config.forward.endpoints[1].events = vec!["task.failed".parse().unwrap()])
        .start()
        .await;
    outcome(&app, 1).await;
    let token = app.standing_token("shop");
    let failed = json!({"id": task_id(2), "status": "failed"}).to_string();
    assert_eq!(app.callback_result(&token, failed).await, "recorded");
    let received = failures.has(1).await;
    assert_eq!(received[0].json()["status"], "failed");
    assert_eq!(all.has(2).await.len(), 2);
    assert_eq!(failures.count(), 1);
    // An event has the same id at every endpoint.
    let of_failure = all
        .received()
        .into_iter()
        .find(|one| one.json()["status"] == "failed");
    assert_eq!(of_failure.unwrap().id(), received[0].id());
}

#[tokio::test]
async fn an_answer_without_a_body_or_with_an_endless_one_delivers_if_it_is_2xx() {
    let no_content = Behaviour::Answer("HTTP/1.1 204 No Content\r\n\r\n".to_owned());
    for behaviour in [no_content, answer(201, ""), Behaviour::Flood] {
        let endpoint = Endpoint::start(behaviour.clone()).await;
        let app = start(&endpoint).await;
        outcome(&app, 1).await;
        endpoint.has(1).await;
        counts(&app, DELIVERED, 1).await;
        // A part of an endless answer is in the system's buffers, which we do not read.
        assert!(endpoint.flooded() < 16 << 20, "{behaviour:?}");
        assert_eq!(endpoint.count(), 1);
    }
}

#[tokio::test]
async fn any_other_answer_is_a_failure_and_is_retried_with_the_same_id_until_2xx() {
    let elsewhere = Endpoint::good().await;
    let moved = format!("location: {}\n", elsewhere.url());
    let failures = [
        answer(301, &moved),
        answer(307, &moved),
        answer(404, ""),
        answer(410, ""),
        answer(500, ""),
        answer(503, "retry-after: x\n"),
        answer(503, "retry-after: -5\n"),
        answer(503, "retry-after: Sun, 06 Nov 1994 08:49:37 GMT\n"),
        Behaviour::Reset,
        Behaviour::Answer("SSH-2.0-OpenSSH_9.2p1\r\n".to_owned()),
        Behaviour::Answer("HTTP/1.1 200 OK\r\ncontent-length: 1, 2\r\n\r\n".to_owned()),
    ];
    // Only a few at a time, because each of them starts a receiver.
    let all = stream::iter(failures).for_each_concurrent(3, async |behaviour| {
        let endpoint = Endpoint::start(behaviour.clone()).await;
        let app = start(&endpoint).await;
        let id = outcome(&app, 1).await;
        endpoint.has(1).await;
        endpoint.behave(answer(200, ""));
        let received = endpoint.has(2).await;
        counts(&app, DELIVERED, 1).await;
        counts(&app, FAILED, 1).await;
        assert_eq!(received[0].id(), received[1].id(), "{behaviour:?}");
        assert_eq!(received[1].text(), task_object(&app, &id).await);
    });
    all.await;
    assert_eq!(elsewhere.count(), 0);
}

#[tokio::test]
async fn an_endpoint_that_is_not_configured_here_is_waited_for() {
    let endpoint = Endpoint::start(answer(500, "")).await;
    let app = start(&endpoint).await;
    outcome(&app, 1).await;
    counts(&app, FAILED, 1).await;
    let (_, builder) = app.stop().await;
    // Like a replica whose configuration does not have the endpoint yet.
    let called = |name: &'static str| {
        move |config: &mut evolink_receiver::config::Config| {
            config.forward.endpoints[0].name = name.to_owned();
        }
    };
    let app = builder.with(called("other-name")).start().await;
    until("it is not sent", || app.counter(OTHER) > 0).await;
    let database = app.database().await;
    let error: String = database
        .value(
            "SELECT last_error FROM delivery WHERE state = 'pending'",
            &[],
        )
        .await;
    assert!(error.contains("configured"), "{error}");
    let (_, builder) = app.stop().await;
    endpoint.behave(answer(200, ""));
    let app = builder.with(called("billing")).start().await;
    app.request(reqwest::Method::POST, &retry_path(&database).await)
        .send()
        .await
        .unwrap();
    counts(&app, DELIVERED, 1).await;
}

async fn retry_path(database: &Database) -> String {
    let id: i64 = database.value("SELECT id FROM delivery", &[]).await;
    format!("/v1/deliveries/{id}/retry")
}
