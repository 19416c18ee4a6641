//! Deliveries to apps' own addresses.

use evolink_receiver::simulator::Options;
use serde_json::{Value, json};

use super::endpoint::{Endpoint, answer};
use super::signatures::faults;
use super::task_object;
use crate::support::app::{TestApp, TestAppBuilder};
use crate::support::needs::{Root, are_met};

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
async fn an_address_that_is_not_allowed_any_more_is_not_called() {
    let endpoint = Endpoint::start(answer(500, "")).await;
    let (app, _simulator) = builder().start_with_simulator(Options::default()).await;
    submit(&app, &endpoint.url()).await;
    endpoint.has(1).await;
    let (_, builder) = app.stop().await;
    let before = endpoint.count();
    let app = builder
        .with(|config| config.forward.allowed_hosts = vec!["elsewhere".to_owned()])
        .start()
        .await;
    let database = app.database().await;
    for _ in 0..1200 {
        let state: String = database.value("SELECT state FROM delivery", &[]).await;
        if state == "dead" {
            assert_eq!(endpoint.count(), before);
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("it is not dead");
}
