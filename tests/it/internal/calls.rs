//! Submits and queries of an app, and what they leave in the store.

use evolink_receiver::domain::callback::Subject;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::app::answer::{Answer, get, send};
use crate::support::described::RequestBuilder;

pub const SUBMIT: &str = "/v1/images/generations";

/// EvoLink's documented answer to a submit.
pub const PENDING: &str = r#"{"created":1757165031,"id":"task-unified-1757165031-uyujaw3d","model":"z-image-turbo","object":"image.generation.task","progress":0,"status":"pending","task_info":{"can_cancel":true,"estimated_time":10},"type":"image","usage":{"billing_rule":"per_call","credits_reserved":0.026,"user_group":"default"}}"#;

pub const PENDING_ID: &str = "task-unified-1757165031-uyujaw3d";

pub fn generation(prompt: &str) -> Value {
    json!({"model": "z-image-turbo", "prompt": prompt})
}

/// A submit of exactly these bytes.
pub fn submission(app: &TestApp, body: impl Into<String>) -> RequestBuilder {
    app.request(Method::POST, SUBMIT)
        .header("content-type", "application/json")
        .body(body.into())
}

pub async fn submit(app: &TestApp, body: &Value) -> Answer {
    send(submission(app, body.to_string())).await
}

pub async fn state(app: &TestApp, id: &str) -> Value {
    get(app, &format!("/v1/tasks/{id}")).await.body["receiver"]["state"].clone()
}

/// Numbers of tasks, observations, events, quarantined bodies and idempotency keys.
pub async fn row_counts(app: &TestApp) -> [i64; 5] {
    let database = app.database().await;
    let sql = "SELECT (SELECT count(*) FROM task), (SELECT count(*) FROM observation), (SELECT count(*) FROM event),
        (SELECT count(*) FROM quarantine), (SELECT count(*) FROM idempotency)";
    let (tasks, observations, events, quarantined, keys) = database.row(sql, &[]).await;
    [tasks, observations, events, quarantined, keys]
}

/// The token in the callback URL of a submission.
pub fn token_of(app: &TestApp, submission_id: &str) -> String {
    app.token(&Subject::Submission(submission_id.parse().unwrap()))
}

pub fn completed(task_id: &str) -> String {
    json!({"id": task_id, "status": "completed", "progress": 100, "results": ["https://files.evolink.ai/0.webp"]}).to_string()
}

/// A submit with an `Idempotency-Key`.
pub async fn submit_under(app: &TestApp, key: &str, body: impl Into<String>) -> Answer {
    send(submission(app, body).header("idempotency-key", key)).await
}
