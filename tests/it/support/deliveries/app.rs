//! A receiver in this process that delivers outcomes, and outcomes for it to deliver.

use evolink_receiver::config::Endpoint as EndpointConfig;
use serde_json::json;
use url::Url;

use super::signatures::SECRET;
use crate::support::app::{TestApp, TestAppBuilder};

/// Makes the receiver of `builder` deliver all outcomes to each of `endpoints`.
pub fn delivering(builder: TestAppBuilder, endpoints: &[(&str, &str)]) -> TestAppBuilder {
    let secret_file = builder.folder().join("endpoint.whsec");
    std::fs::write(&secret_file, SECRET).unwrap();
    let endpoints = endpoints.iter().map(|(name, url)| EndpointConfig {
        name: (*name).to_owned(),
        url: Url::parse(url).unwrap(),
        secret_file: secret_file.clone(),
        events: ["task.completed", "task.failed", "task.cancelled"]
            .map(|event| event.parse().unwrap())
            .to_vec(),
    });
    let endpoints = endpoints.collect();
    builder.with(|config| config.forward.endpoints = endpoints)
}

/// Sends the callback of task `number` and checks that it is recorded. Returns the task id.
pub async fn outcome(app: &TestApp, number: usize) -> String {
    let (id, token) = (task_id(number), app.standing_token("shop"));
    let results = [format!("https://files.evolink.ai/{number}.webp")];
    let body = json!({"id": id, "status": "completed", "progress": 100, "results": results, "note": "ü\u{1f600}"});
    let result = app.callback_result(&token, body.to_string()).await;
    assert_eq!(result, "recorded");
    id
}

/// The id of task `number`.
pub fn task_id(number: usize) -> String {
    format!("task-unified-1757165031-{number:08}")
}
