//! Archived result files: how they are fetched and kept, and how apps get them.

mod answers;
mod commands;
mod egress;
mod faults;
mod large;
mod links;
mod main_job;
mod replicas;
mod retention;
mod turns;

use evolink_receiver::config::{ByteSize, Network};
use serde_json::{Value, json};

use crate::support::app::callback_body::completed_with;
use crate::support::app::{TestApp, TestAppBuilder};

/// A receiver that archives what is on this machine.
fn archiving() -> TestAppBuilder {
    TestApp::builder().with(|config| {
        config.archive.enabled = true;
        config.archive.allow_networks = vec![Network::loopback()];
        config.archive.min_free = ByteSize::bytes(0);
    })
}

/// EvoLink reports, to a standing callback URL of `client`, that a task is completed.
async fn complete(app: &TestApp, client: &str, id: &str, results: &[String]) {
    let body = completed_with(id, &json!(results));
    let result = app.callback_result(&app.standing_token(client), body).await;
    assert_eq!(result, "recorded", "{id}");
}

/// Waits until all files of a task are archived or given up. Returns them as the task shows them.
async fn archived(app: &TestApp, id: &str) -> Vec<Value> {
    let is_over = |task: &Value| {
        let results = task["receiver"]["results"].as_array().unwrap();
        results
            .iter()
            .all(|result| result["archived_at"].is_string() || result["url"].is_null())
    };
    let task = app.task_when(id, is_over).await;
    task["receiver"]["results"].as_array().unwrap().clone()
}
