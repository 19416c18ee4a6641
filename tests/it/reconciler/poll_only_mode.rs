//! `public.mode = "poll-only"`: on a machine that EvoLink cannot reach, no callback URL is sent and
//! all outcomes are found by polling.

use std::time::Duration;

use evolink_receiver::config::PublicMode;
use evolink_receiver::simulator::Options;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::support::app::{TestApp, TestAppBuilder};
use crate::support::deliveries::endpoint::Endpoint;

fn poll_only() -> TestAppBuilder {
    TestApp::builder()
        .with_manual_clock()
        .with(|config| config.public.mode = PublicMode::PollOnly)
}

#[tokio::test]
async fn no_callback_url_is_sent_and_a_poll_finds_the_outcome_soon() {
    let options = Options {
        estimated_time_s: 1,
        ..Options::default()
    };
    let (app, simulator) = poll_only().start_with_simulator(options).await;
    let address = app.config.public.listen;
    TcpListener::bind(address)
        .await
        .expect("nobody listens for callbacks");
    let task = app.submitted("a cat [sim:duration=0ms]").await;
    let sent = simulator.tasks().pop().unwrap();
    assert_eq!(sent.callback_url, None);
    let planned = "SELECT next_poll_at FROM task";
    let planned: i64 = app.database().await.value(planned, &[]).await;
    let soon = app.clock.now().after(app.config.reconcile.interval_min);
    assert_eq!(planned, soon.as_millis());
    app.clock.advance(Duration::from_mins(1));
    let id = task["id"].as_str().unwrap();
    let is_done = |task: &Value| task["status"] == "completed";
    let task = app.task_when(id, is_done).await;
    assert_eq!(task["receiver"]["source"], "poll");
    let (status, ready) = app.get("/readyz?verbose").await;
    let message = "public.mode is poll-only: outcomes are found by polling";
    let expected = json!({"state": "ok", "message": message});
    assert_eq!((status, &ready["details"]["callbacks"]), (200, &expected));
}

#[tokio::test]
async fn an_apps_own_address_still_gets_the_outcome() {
    let endpoint = Endpoint::good().await;
    let builder =
        poll_only().with(|config| config.forward.allowed_hosts = vec!["127.0.0.1".to_owned()]);
    let (app, simulator) = builder.start_with_simulator(Options::default()).await;
    let prompt = "a cat [sim:duration=0ms]";
    let body = json!({"model": "z-image-turbo", "prompt": prompt, "callback_url": endpoint.url()});
    let (status, task) = app.submit(&body).await;
    assert_eq!(status, 200, "{task}");
    assert_eq!(simulator.tasks().pop().unwrap().callback_url, None);
    app.clock.advance(Duration::from_mins(1));
    assert_eq!(endpoint.has(1).await[0].json()["id"], task["id"]);
}
