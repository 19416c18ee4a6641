//! `?wait=` and `Prefer: wait=`: the answer that is held until a task is over, through real sockets, on the real `App`.

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

/// Longer than anything here takes that does not wait to the end.
const LONG_WAIT: u64 = 45;

/// Who is told, and not merely answered at last, is so before this.
pub const TOLD_WITHIN: Duration = Duration::from_secs(30);

const SEATS_TAKEN: &str = "evolink_receiver_seats_taken";

/// Accepted by EvoLink, and then never heard of again.
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

    /// That it is the task in `state`, and came because it was.
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

/// A query that waits, once it does.
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

/// EvoLink says by callback that the task is so.
async fn told(app: &TestApp, id: &str, status: &str) {
    let token = app.standing_token("shop");
    let result = app.callback_result(&token, body(id, status)).await;
    assert_eq!(result, "recorded", "{id}: {status}");
}

fn submission_id(task: &Value) -> String {
    let id = task["receiver"]["submission_id"].as_str();
    id.unwrap().to_owned()
}
