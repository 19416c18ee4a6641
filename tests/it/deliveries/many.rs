//! A receiver with many deliveries that it does not send.

use evolink_receiver::config::{Endpoint, OutcomeEvent};
use serde_json::Value;
use url::Url;

use crate::support::app::TestApp;
use crate::support::app::callback_body::completed;

/// All events that are outcomes.
const OUTCOMES: [OutcomeEvent; 3] = [
    OutcomeEvent::Completed,
    OutcomeEvent::Failed,
    OutcomeEvent::Cancelled,
];

/// Starts a receiver with the endpoints `billing`, which wants all outcomes, and `alarms`, which
/// wants failures. Nothing is sent before `due_at`, so a test can set that far ahead to prevent
/// attempts.
pub async fn start() -> TestApp {
    let secret = std::env::temp_dir().join(format!("deliveries-{}.whsec", std::process::id()));
    std::fs::write(&secret, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n").unwrap();
    let endpoint = |name: &str, events: &[OutcomeEvent]| Endpoint {
        name: name.to_owned(),
        url: Url::parse("http://127.0.0.1:1/").unwrap(),
        secret_file: secret.clone(),
        events: events.to_vec(),
    };
    let endpoints = vec![
        endpoint("billing", &OUTCOMES),
        endpoint("alarms", &[OutcomeEvent::Failed]),
    ];
    TestApp::builder()
        .with(|config| config.forward.endpoints = endpoints)
        .start()
        .await
}

/// Makes `count` outcomes through a standing URL, and so as many deliveries to `billing`. Each
/// delivery is then changed by `sql`.
pub async fn fill(app: &TestApp, count: usize, sql: &str) -> Vec<i64> {
    let token = app.standing_token("shop");
    for number in 0..count {
        let body = completed(&format!("task-{number}"));
        assert_eq!(app.callback_result(&token, body).await, "recorded");
    }
    let database = app.database().await;
    database.execute(sql).await;
    database
        .values("SELECT id FROM delivery ORDER BY id DESC", &[])
        .await
}

pub const DEAD: &str = "UPDATE delivery SET state = 'dead', ended_at = 1757165033000, attempts = 10, holder = NULL,
    lease_until = NULL, last_status = 503, last_error = 'the endpoint answered 503' WHERE state = 'pending'";

pub fn ids(page: &Value) -> Vec<i64> {
    let deliveries = page["data"]
        .as_array()
        .unwrap_or_else(|| panic!("no page: {page}"));
    deliveries
        .iter()
        .map(|delivery| delivery["id"].as_i64().unwrap())
        .collect()
}
