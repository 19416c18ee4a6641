//! A submit is not sent if its intent is not recorded in time, or if its app has disconnected.

use std::time::Duration;

use evolink_receiver::simulator::{Options, Simulator};
use futures_util::future::join_all;
use serde_json::Value;
use tokio::time::Instant;

use crate::internal::calls::{SUBMIT, generation, submit};
use crate::support::app::TestApp;
use crate::support::app::answer::get;
use crate::support::net::raw::RawClient;
use crate::support::until::until;

const QUIET: &str = "[sim:duration=10m,lost-callback]";

async fn started() -> (TestApp, Simulator) {
    TestApp::start_with_simulator(Options::default()).await
}

async fn ask(app: &TestApp, prompt: &str) -> RawClient {
    let body = generation(prompt).to_string();
    let mut client = RawClient::connect_plain(app.internal).await;
    client
        .send(format!(
            "POST {SUBMIT} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        ))
        .await;
    client
}

async fn counted(app: &TestApp, result: &str, times: u64) {
    let series = format!("evolink_receiver_submits_total{{result=\"{result}\"}}");
    until(result, || app.counter(&series) >= times).await;
    assert_eq!(app.counter(&series), times, "{result}");
}

/// Waits until `count` apps are waiting for the answers to their submits.
async fn wait_for_apps(app: &TestApp, count: usize) {
    until("apps that wait", || {
        app.apps.waiting_for(Duration::ZERO).len() == count
    })
    .await;
}

/// Submits once more, and asserts that nothing but this submit was sent. Everything that was queued
/// before it has been recorded by the time it is answered.
async fn assert_only_this_was_sent(app: &TestApp, evolink: &Simulator) {
    let answer = submit(app, &generation(&format!("last {QUIET}"))).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(evolink.stats().submits, 1);
    let page = get(app, "/v1/tasks").await.body;
    let states: Vec<Value> = page["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|task| task["receiver"]["state"].clone())
        .collect();
    let open = states.iter().filter(|state| *state != "rejected");
    assert_eq!(open.count(), 1, "{states:?}");
}

#[tokio::test]
async fn while_the_store_is_locked_submits_are_answered_503_within_8_s_and_never_sent() {
    let (app, evolink) = started().await;
    let database = app.database().await;
    database.hold_writes().await;
    let late = async {
        wait_for_apps(&app, 1).await;
        let (began, prompt) = (Instant::now(), format!("late {QUIET}"));
        (submit(&app, &generation(&prompt)).await, began.elapsed())
    };
    let first = async {
        let began = Instant::now();
        (submit(&app, &generation(QUIET)).await, began.elapsed())
    };
    let answers = tokio::join!(first, late);
    for (answer, took) in [answers.0, answers.1] {
        answer.assert_error(503, "service_unavailable", None, "locked");
        // The promise of 8 s holds on a machine that is not busy with other things.
        assert!(took < 3 * Duration::from_secs(8), "{took:?}");
    }
    database.let_write().await;
    assert_only_this_was_sent(&app, &evolink).await;
    counted(&app, "not_recorded", 2).await;
}

#[tokio::test]
async fn a_submit_whose_app_leaves_before_it_is_recorded_is_never_sent() {
    let (app, evolink) = started().await;
    let database = app.database().await;
    database.hold_writes().await;
    let apps = ["one", "two", "three"].map(|word| format!("{word} {QUIET}"));
    let clients = join_all(apps.iter().map(|prompt| ask(&app, prompt))).await;
    // Their requests must be read before the receiver notices that their connections are closed.
    wait_for_apps(&app, 3).await;
    drop(clients);
    counted(&app, "abandoned", 3).await;
    database.let_write().await;
    assert_only_this_was_sent(&app, &evolink).await;
}

#[tokio::test]
async fn a_submit_whose_app_leaves_before_its_turn_is_never_sent() {
    let builder = TestApp::builder().with(|config| config.evolink.submits_per_second = 1);
    let (app, evolink) = builder.start_with_simulator(Options::default()).await;
    let first = submit(&app, &generation(QUIET)).await;
    assert_eq!(first.status, 200);
    let client = ask(&app, "left").await;
    wait_for_apps(&app, 1).await;
    drop(client);
    counted(&app, "abandoned", 1).await;
    let next = submit(&app, &generation(&format!("next {QUIET}"))).await;
    assert_eq!((next.status, evolink.stats().submits), (200, 2));
}
