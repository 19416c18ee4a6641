//! `?wait=` and `Prefer: wait=`: answers that are held back until a task is finished, through real
//! sockets on the real `App`.

mod contract;
mod crowd;
mod leaving;
pub mod races;
mod seats;
mod submits;

use std::time::Duration;

use http::HeaderMap;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::support::app::TestApp;
use crate::support::until::until;

/// Longer than any test here takes, unless it waits for the timeout.
const LONG_WAIT: u64 = 45;

/// A waiter that is notified gets its answer within this time. One that times out takes longer.
pub const TOLD_WITHIN: Duration = Duration::from_secs(30);

const SEATS_TAKEN: &str = "evolink_receiver_seats_taken";

/// EvoLink accepts the task and never calls back.
const SILENT: &str = "[sim:never-ends,lost-callback]";

#[derive(Debug)]
struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Value,
    took: Duration,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    fn state(&self) -> &str {
        self.body["receiver"]["state"].as_str().unwrap_or_default()
    }

    /// Asserts that the answer is the task in `state`, and that it came because of a notification.
    fn assert_told(&self, state: &str) {
        assert_eq!((self.status, self.state()), (200, state), "{self:?}");
        assert!(self.took < TOLD_WITHIN, "not told: {self:?}");
    }

    fn assert_error(&self, status: u16, code: &str, param: Option<&str>) {
        let error = &self.body["error"];
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(error["code"], code, "{self:?}");
        assert_eq!(error["param"].as_str(), param, "{self:?}");
    }
}

async fn send(request: RequestBuilder) -> Answer {
    let start = Instant::now();
    let answer = request.send().await.unwrap();
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    let body = answer.json().await.unwrap();
    Answer {
        status,
        headers,
        body,
        took: start.elapsed(),
    }
}

fn asking(app: &TestApp, path: &str) -> RequestBuilder {
    app.request(Method::GET, path)
}

async fn get(app: &TestApp, path: &str) -> Answer {
    send(asking(app, path)).await
}

/// Starts a query and returns it once it is waiting.
async fn waiting(app: &TestApp, request: RequestBuilder) -> JoinHandle<Answer> {
    let before = app.counter(SEATS_TAKEN);
    let waiting = tokio::spawn(send(request));
    until("it waits", || app.counter(SEATS_TAKEN) == before + 1).await;
    waiting
}

async fn waiting_for(app: &TestApp, id: &str) -> JoinHandle<Answer> {
    let path = format!("/v1/tasks/{id}?wait={LONG_WAIT}");
    waiting(app, asking(app, &path)).await
}

async fn nobody_waits(app: &TestApp) {
    let start = Instant::now();
    until("nobody waits", || app.counter(SEATS_TAKEN) == 0).await;
    assert!(start.elapsed() < TOLD_WITHIN, "the seat came back too late");
}

fn body(id: &str, status: &str) -> String {
    json!({"id": id, "status": status, "progress": 40, "results": ["https://files.evolink.ai/0.webp"]}).to_string()
}

/// A callback of EvoLink reports this status of the task.
async fn told(app: &TestApp, id: &str, status: &str) {
    let token = app.standing_token("shop");
    let result = app.callback_result(&token, body(id, status)).await;
    assert_eq!(result, "recorded", "{id}: {status}");
}

fn submission_id(task: &Value) -> String {
    let id = task["receiver"]["submission_id"].as_str();
    id.unwrap().to_owned()
}
