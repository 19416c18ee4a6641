//! Deliveries of outcomes: to each endpoint that wants them, signed, at least once, and independent
//! of other endpoints.

mod answers;
mod backlog;
mod clocks;
mod contract;
pub mod endpoint;
mod gone;
mod hostile;
pub mod kill;
mod own;
mod retries;
mod signatures;
mod silence;
mod stop;
mod stories;

use evolink_receiver::config::Endpoint as EndpointConfig;
use serde_json::json;
use url::Url;

use crate::support::app::{TestApp, TestAppBuilder};
use endpoint::Endpoint;

pub const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
pub const OTHER_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A receiver that delivers all outcomes to each of `endpoints`.
fn builder(endpoints: &[(&str, &str)]) -> TestAppBuilder {
    delivering(TestApp::builder(), endpoints)
}

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

async fn start(endpoint: &Endpoint) -> TestApp {
    builder(&[("billing", &endpoint.url())]).start().await
}

fn task_id(number: usize) -> String {
    format!("task-unified-1757165031-{number:08}")
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

/// The task object exactly as the API returns it.
async fn task_object(app: &TestApp, id: &str) -> String {
    let request = app.request(reqwest::Method::GET, &format!("/v1/tasks/{id}"));
    request.send().await.unwrap().text().await.unwrap()
}
