//! Queries whose answers are held back until a task is finished, and callbacks that end them.

use std::time::Duration;

use http::HeaderMap;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::running::TestApp;
use crate::support::described::RequestBuilder;

/// Longer than any test here takes, unless it waits for the timeout.
pub const LONG_WAIT: u64 = 45;

/// A waiter that is notified gets its answer within this time. One that times out takes longer.
pub const TOLD_WITHIN: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Value,
    pub took: Duration,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    pub fn state(&self) -> &str {
        self.body["receiver"]["state"].as_str().unwrap_or_default()
    }

    /// Asserts that the answer is the task in `state`, and that it came because of a notification.
    pub fn assert_told(&self, state: &str) {
        assert_eq!((self.status, self.state()), (200, state), "{self:?}");
        assert!(self.took < TOLD_WITHIN, "not told: {self:?}");
    }

    pub fn assert_error(&self, status: u16, code: &str, param: Option<&str>) {
        let error = &self.body["error"];
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(error["code"], code, "{self:?}");
        assert_eq!(error["param"].as_str(), param, "{self:?}");
    }
}

pub async fn send(request: RequestBuilder) -> Answer {
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

pub fn asking(app: &TestApp, path: &str) -> RequestBuilder {
    app.request(Method::GET, path)
}

pub fn body(id: &str, status: &str) -> String {
    json!({"id": id, "status": status, "progress": 40, "results": ["https://files.evolink.ai/0.webp"]}).to_string()
}

/// A callback of EvoLink reports this status of the task.
pub async fn told(app: &TestApp, id: &str, status: &str) {
    let token = app.standing_token("shop");
    let result = app.callback_result(&token, body(id, status)).await;
    assert_eq!(result, "recorded", "{id}: {status}");
}
