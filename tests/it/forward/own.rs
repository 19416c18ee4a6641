//! Deliveries to apps' own addresses.

use evolink_receiver::config::Config;
use evolink_receiver::simulator::Options;
use reqwest::Method;
use serde_json::{Value, json};

use super::receiver::task_object;
use crate::support::app::{TestApp, TestAppBuilder};
use crate::support::deliveries::endpoint::{Endpoint, answer};
use crate::support::deliveries::signatures::faults;
use crate::support::machine::needs::{Root, are_met};
use crate::support::until::until;

const FAILED: &str =
    "evolink_receiver_deliveries_total{endpoint=\"callback_url\",result=\"failed\"}";

fn builder() -> TestAppBuilder {
    TestApp::builder().with(|config| config.forward.allowed_hosts = vec!["127.0.0.1".to_owned()])
}

async fn submit(app: &TestApp, url: &str) -> Value {
    let prompt = "a cat [sim:duration=10ms]";
    let body = json!({"model": "z-image-turbo", "prompt": prompt, "callback_url": url});
    let (status, task) = app.submit(&body).await;
    assert_eq!(status, 200, "{task}");
    task
}

#[tokio::test]
async fn an_apps_own_address_gets_its_outcome_signed_with_the_secret_that_the_first_start_made() {
    if !are_met(Root::NotNeeded, &["python3"]) {
        return;
    }
    let endpoint = Endpoint::good().await;
    let (app, _simulator) = builder().start_with_simulator(Options::default()).await;
    let task = submit(&app, &endpoint.url()).await;
    let received = endpoint.has(1).await;
    let id = task["id"].as_str().unwrap();
    assert_eq!(received[0].text(), task_object(&app, id).await);
    assert_eq!(received[0].path, "/hook?a=b");
    let secret = std::fs::read_to_string(&app.config.forward.secret_file).unwrap();
    assert_eq!(faults(&received, &[secret.trim()]), [""; 0]);
}

#[tokio::test]
async fn an_address_that_is_not_allowed_any_more_is_not_called_until_it_is_again() {
    let endpoint = Endpoint::start(answer(500, "")).await;
    let (app, _simulator) = builder().start_with_simulator(Options::default()).await;
    submit(&app, &endpoint.url()).await;
    endpoint.has(1).await;
    let (_, builder) = app.stop().await;
    let before = endpoint.count();
    let allowed = |host: &'static str| {
        move |config: &mut Config| config.forward.allowed_hosts = vec![host.to_owned()]
    };
    let app = builder.with(allowed("elsewhere")).start().await;
    until("it is refused", || app.counter(FAILED) > 0).await;
    assert_eq!(endpoint.count(), before);
    let database = app.database().await;
    let (error, id) = (
        database.value::<String>(
            "SELECT last_error FROM delivery WHERE state = 'pending'",
            &[],
        ),
        database.value::<i64>("SELECT id FROM delivery", &[]),
    );
    let (error, id) = (error.await, id.await);
    assert!(error.starts_with("not called: "), "{error}");
    let (_, builder) = app.stop().await;
    endpoint.behave(answer(200, ""));
    let app = builder.with(allowed("127.0.0.1")).start().await;
    let retry = format!("/v1/deliveries/{id}/retry");
    let retried = app.request(Method::POST, &retry).send().await.unwrap();
    assert_eq!(retried.status(), 200);
    endpoint.has(before + 1).await;
}

/// Apps may name any number of addresses, and each idle connection would leave one descriptor less
/// for callbacks.
#[tokio::test]
async fn no_connection_to_an_apps_own_address_is_kept() {
    let endpoint = Endpoint::good().await;
    let (app, _simulator) = builder().start_with_simulator(Options::default()).await;
    for number in 1..=2 {
        submit(&app, &endpoint.url()).await;
        endpoint.has(number).await;
        assert_eq!(endpoint.connections(), number);
    }
}
