//! The internal listener as apps know it: submits, queries, keys and errors, through real sockets,
//! on the real `App`.

mod account;
mod answers;
mod bounds;
mod callback_urls;
mod deadline;
mod envelope;
mod freed_keys;
mod history;
mod idempotency;
mod keys;
mod late_intents;
mod lists;
mod pages;
mod plans;
mod reads;
mod recording;
mod repeats;
mod retries;
mod unanswered;
mod whole_history;

use evolink_receiver::domain::callback::Subject;
use http::HeaderMap;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::support::app::TestApp;

const SUBMIT: &str = "/v1/images/generations";

/// EvoLink's documented answer to a submit.
const PENDING: &str = r#"{"created":1757165031,"id":"task-unified-1757165031-uyujaw3d","model":"z-image-turbo","object":"image.generation.task","progress":0,"status":"pending","task_info":{"can_cancel":true,"estimated_time":10},"type":"image","usage":{"billing_rule":"per_call","credits_reserved":0.026,"user_group":"default"}}"#;

const PENDING_ID: &str = "task-unified-1757165031-uyujaw3d";

/// One answer of the internal listener.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    headers: HeaderMap,
    pub text: String,
    /// `null` if the answer is not JSON.
    pub body: Value,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Asserts that this is an error in EvoLink's envelope, with its request id.
    pub fn assert_error(&self, status: u16, code: &str, param: Option<&str>, why: &str) {
        let error = &self.body["error"];
        assert_eq!(self.status, status, "{why}: {self:?}");
        assert_eq!(error["code"], code, "{why}: {self:?}");
        assert_eq!(error["param"].as_str(), param, "{why}: {self:?}");
        assert!(
            error["message"].is_string() && error["type"].is_string(),
            "{why}: {self:?}"
        );
        assert!(self.header("x-request-id").is_some(), "{why}: {self:?}");
    }

    /// Asserts that this is the 504 for a submit of unknown outcome. Returns the submission id.
    fn assert_unknown(&self, why: &str) -> String {
        self.assert_error(504, "submit_outcome_unknown", None, why);
        let id = self.body["error"]["submission_id"].as_str().unwrap();
        assert_eq!(self.header("x-submission-id"), Some(id), "{why}");
        id.to_owned()
    }
}

pub async fn send(request: RequestBuilder) -> Answer {
    let answer = request.send().await.unwrap();
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    let text = answer.text().await.unwrap();
    let body = serde_json::from_str(&text).unwrap_or_default();
    Answer {
        status,
        headers,
        text,
        body,
    }
}

fn generation(prompt: &str) -> Value {
    json!({"model": "z-image-turbo", "prompt": prompt})
}

/// A submit of exactly these bytes.
fn submission(app: &TestApp, body: impl Into<String>) -> RequestBuilder {
    app.request(Method::POST, SUBMIT)
        .header("content-type", "application/json")
        .body(body.into())
}

async fn submit(app: &TestApp, body: &Value) -> Answer {
    send(submission(app, body.to_string())).await
}

pub async fn get(app: &TestApp, path: &str) -> Answer {
    send(app.request(Method::GET, path)).await
}

async fn state(app: &TestApp, id: &str) -> Value {
    get(app, &format!("/v1/tasks/{id}")).await.body["receiver"]["state"].clone()
}

/// Numbers of tasks, observations, events, quarantined bodies and idempotency keys.
async fn row_counts(app: &TestApp) -> [i64; 5] {
    let database = app.database().await;
    let sql = "SELECT (SELECT count(*) FROM task), (SELECT count(*) FROM observation), (SELECT count(*) FROM event),
        (SELECT count(*) FROM quarantine), (SELECT count(*) FROM idempotency)";
    let (tasks, observations, events, quarantined, keys) = database.row(sql, &[]).await;
    [tasks, observations, events, quarantined, keys]
}

/// The token in the callback URL of a submission.
fn token_of(app: &TestApp, submission_id: &str) -> String {
    app.token(&Subject::Submission(submission_id.parse().unwrap()))
}

fn completed(task_id: &str) -> String {
    json!({"id": task_id, "status": "completed", "progress": 100, "results": ["https://files.evolink.ai/0.webp"]}).to_string()
}
