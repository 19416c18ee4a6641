//! A receiver that runs in this process, and what a test does with it.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use evolink_receiver::clock::Clock;
use evolink_receiver::config::Config;
use evolink_receiver::domain::callback::{KeyRing, Subject};
use evolink_receiver::exit::CommandError;
use evolink_receiver::observe::metrics::Metrics;
use evolink_receiver::store::repeats::Apps;
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::support::described;
use crate::support::net::raw::RawClient;
use crate::support::store::TestStore;
use crate::support::store::database::Database;
use crate::support::until::PATIENCE;

pub struct TestApp {
    pub public: SocketAddr,
    pub internal: SocketAddr,
    pub certificate_pem: String,
    pub key_ring: KeyRing,
    pub metrics: Metrics,
    /// The apps that wait for the answer to a submit without an idempotency key.
    pub apps: Apps,
    pub clock: Clock,
    pub config: Config,
    pub http: described::Client,
    pub store: Arc<TestStore>,
    pub(super) folder: Arc<TempDir>,
    pub(super) stop: CancellationToken,
    pub(super) running: JoinHandle<Result<(), CommandError>>,
}

impl TestApp {
    /// The folder of all files that the receiver keeps.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The token for `subject`, as the receiver would mint it.
    pub fn token(&self, subject: &Subject) -> String {
        self.key_ring.mint(subject)
    }

    /// A standing token.
    pub fn standing_token(&self, label: &str) -> String {
        self.token(&Subject::Standing(label.parse().unwrap()))
    }

    pub async fn raw_public(&self) -> RawClient {
        RawClient::connect_tls(self.public, &self.certificate_pem, "localhost").await
    }

    /// POSTs `body` to the callback URL of `token` over TLS, and returns status and body.
    pub async fn callback(&self, token: &str, body: impl Into<reqwest::Body>) -> (u16, String) {
        let url = format!("https://localhost:{}/callbacks/{token}", self.public.port());
        let request = self
            .http
            .post(url)
            .header("content-type", "application/json")
            .body(body);
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    /// POSTs a callback, and returns the `result` of the answer, or the status if there is no
    /// result.
    pub async fn callback_result(&self, token: &str, body: impl Into<reqwest::Body>) -> String {
        let (status, body) = self.callback(token, body).await;
        let result = serde_json::from_str::<Value>(&body)
            .ok()
            .and_then(|body| Some(body["result"].as_str()?.to_owned()));
        result.unwrap_or_else(|| status.to_string())
    }

    pub fn request(&self, method: Method, path: &str) -> described::RequestBuilder {
        self.http
            .request(method, format!("http://{}{path}", self.internal))
    }

    /// Returns status and JSON of a GET on the internal listener.
    pub async fn get(&self, path: &str) -> (u16, Value) {
        let answer = self.request(Method::GET, path).send().await.unwrap();
        (
            answer.status().as_u16(),
            answer.json().await.unwrap_or(Value::Null),
        )
    }

    /// Submits, and returns status and JSON.
    pub async fn submit(&self, body: &Value) -> (u16, Value) {
        let request = self
            .request(Method::POST, "/v1/images/generations")
            .json(body);
        let answer = request.send().await.unwrap();
        (
            answer.status().as_u16(),
            answer.json().await.unwrap_or(Value::Null),
        )
    }

    /// Submits, and returns the task object. EvoLink must accept the submit.
    pub async fn submitted(&self, prompt: &str) -> Value {
        let (status, task) = self
            .submit(&json!({"model": "z-image-turbo", "prompt": prompt}))
            .await;
        assert_eq!(status, 200, "{task}");
        task
    }

    /// Waits until `is_it` accepts the task object, and returns it.
    pub async fn task_when(&self, id: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let (status, task) = self.get(&format!("/v1/tasks/{id}")).await;
            if status == 200 && is_it(&task) {
                return task;
            }
            assert!(Instant::now() < deadline, "it never came: {status} {task}");
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// The value of a counter, by its name and labels as `/metrics` shows them, of all kinds if
    /// `kind` is not among these; 0 if it does not exist.
    pub fn counter(&self, series: &str) -> u64 {
        let text = self.metrics.render();
        let without_end = series.strip_suffix('}').unwrap_or(series);
        let values = text.lines().filter_map(|line| {
            let rest = line.strip_prefix(without_end)?;
            let (labels, value) = rest.rsplit_once(' ')?;
            let is_it = matches!(labels, "" | "}") || labels.starts_with(",kind=");
            is_it.then(|| value.parse::<u64>().unwrap())
        });
        values.sum()
    }

    /// Callbacks that began.
    pub fn callbacks_received(&self) -> u64 {
        self.counter("evolink_receiver_callbacks_received_total")
    }

    /// Callbacks that ended, one way or another.
    pub fn callbacks_ended(&self) -> u64 {
        let results = [
            "recorded",
            "unchanged",
            "duplicate",
            "conflict",
            "quarantined",
            "refused",
            "aborted",
        ];
        let series = |result| format!("evolink_receiver_callbacks_total{{result=\"{result}\"}}");
        let counted = results.map(|result| self.counter(&series(result)));
        counted.iter().sum()
    }

    /// Rule I48: every callback that began has ended in exactly one way.
    pub fn assert_counters_balance(&self) {
        assert_eq!(
            self.callbacks_ended(),
            self.callbacks_received(),
            "{}",
            self.metrics.render()
        );
    }

    /// Opens a second connection to the same database, to inspect it.
    pub async fn database(&self) -> Database {
        self.store.connect().await
    }
}
