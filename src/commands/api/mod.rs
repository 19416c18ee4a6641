//! A client of the internal API, for commands that query a running service. `wire` maps errors to
//! exit codes, and `answer` reads values from responses.

mod answer;
mod wire;

use std::time::Duration;

pub use answer::{age, is_terminal, outcome_after_ms, seconds, state, take_data, text, time_ms};
use http::HeaderName;
use http::header::CONTENT_TYPE;
use reqwest::{Client, RequestBuilder, Response};
use secrecy::SecretString;
use serde_json::Value;
use url::Url;
pub(super) use wire::Opened;

use crate::commands::service::Service;
use crate::domain::kind::Kind;
use crate::exit::{CommandError, Exit};

/// Longer than the 30 s that a submit waits for EvoLink, and than the 50 s that a query may wait.
const TIMEOUT: Duration = Duration::from_secs(75);
/// The longest download: 2 GiB at 5 Mbit/s.
const DOWNLOAD_TIMEOUT: Duration = Duration::from_hours(1);

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The result of replaying an entry of the quarantine.
#[derive(Debug)]
pub enum ReplayAnswer {
    /// The service's response: `result` and `entry`.
    Done(Value),
    /// The body still cannot be read as a task, for this reason.
    Unreadable(String),
}

impl ReplayAnswer {
    pub fn result(&self) -> &str {
        match self {
            Self::Done(body) => text(body, "/result").unwrap_or("unknown"),
            Self::Unreadable(_) => "unreadable",
        }
    }
}

/// A client of one service. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Api {
    http: Client,
    base: Url,
    key: Option<SecretString>,
}

impl Api {
    pub fn new(service: Service, key: Option<SecretString>) -> Result<Self, CommandError> {
        let http = service
            .client()?
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TIMEOUT)
            .redirect(reqwest::redirect::Policy::none());
        let base = service.url;
        let http = http.build().map_err(|error| {
            CommandError::new(
                Exit::Unavailable,
                format!("could not make an HTTP client: {error}"),
            )
        })?;
        Ok(Self { http, base, key })
    }

    /// Returns the URL without a trailing slash.
    pub fn base_url(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    pub async fn task(&self, id: &str) -> Result<Value, CommandError> {
        self.task_within(id, 0).await
    }

    /// Returns the task once it is finished, or as it is after `seconds`. The service treats more
    /// than 50 as 50.
    pub async fn task_within(&self, id: &str, seconds: u64) -> Result<Value, CommandError> {
        let url = self.url(&["v1", "tasks", id])?;
        self.send(self.http.get(waiting(url, seconds))).await
    }

    /// Returns the history of a task: its observations and events.
    pub async fn history(&self, id: &str) -> Result<Vec<Value>, CommandError> {
        let url = self.url(&["v1", "tasks", id, "events"])?;
        Ok(take_data(self.send(self.http.get(url)).await?))
    }

    /// Returns a page of tasks as the service sent it: `data` and `next`.
    pub async fn list(&self, query: &[(&str, String)]) -> Result<Value, CommandError> {
        let mut url = self.url(&["v1", "tasks"])?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        self.send(self.http.get(url)).await
    }

    /// Returns what works, what is open and what is wrong.
    pub async fn status(&self) -> Result<Value, CommandError> {
        let url = self.url(&["v1", "status"])?;
        self.send(self.http.get(url)).await
    }

    /// Returns whether the service is ready, and the state of each of its parts. Needs no API key.
    pub async fn readiness(&self) -> Result<Value, CommandError> {
        let mut url = self.url(&["readyz"])?;
        url.set_query(Some("verbose"));
        let (_, body) = self.ask(self.http.get(url)).await?;
        Ok(body)
    }

    /// Returns a page of the quarantine as the service sent it: `data` and `next`.
    pub async fn quarantine(&self, query: &[(&str, String)]) -> Result<Value, CommandError> {
        let mut url = self.url(&["v1", "quarantine"])?;
        url.query_pairs_mut().extend_pairs(query);
        self.send(self.http.get(url)).await
    }

    pub async fn quarantine_entry(&self, id: i64) -> Result<Value, CommandError> {
        let url = self.url(&["v1", "quarantine", &id.to_string()])?;
        self.send(self.http.get(url)).await
    }

    pub async fn replay(&self, id: i64) -> Result<ReplayAnswer, CommandError> {
        let url = self.url(&["v1", "quarantine", &id.to_string(), "replay"])?;
        let (status, body) = self.ask(self.http.post(url)).await?;
        if text(&body, "/error/code") == Some("still_unreadable") {
            let reason = text(&body, "/error/message").unwrap_or_default();
            return Ok(ReplayAnswer::Unreadable(reason.to_owned()));
        }
        self.judge(status, body).map(ReplayAnswer::Done)
    }

    /// Returns a page of deliveries as the service sent it: `data` and `next`.
    pub async fn deliveries(&self, query: &[(&str, String)]) -> Result<Value, CommandError> {
        let mut url = self.url(&["v1", "deliveries"])?;
        url.query_pairs_mut().extend_pairs(query);
        self.send(self.http.get(url)).await
    }

    /// Returns a delivery with its `failed_attempts`.
    pub async fn delivery(&self, id: i64) -> Result<Value, CommandError> {
        let url = self.url(&["v1", "deliveries", &id.to_string()])?;
        self.send(self.http.get(url)).await
    }

    /// Sends a test event to an endpoint of the configuration. Returns how it answered.
    pub async fn test_endpoint(&self, name: &str) -> Result<Value, CommandError> {
        let url = self.url(&["v1", "endpoints", name, "test"])?;
        self.send(self.http.post(url)).await
    }

    /// Retries a delivery. Returns it in its new state.
    pub async fn retry_delivery(&self, id: i64) -> Result<Value, CommandError> {
        let url = self.url(&["v1", "deliveries", &id.to_string(), "retry"])?;
        let (status, body) = self.ask(self.http.post(url)).await?;
        let is_delivered = text(&body, "/error/code") == Some("already_delivered");
        let judged = self.judge(status, body);
        // A later retry cannot resolve this conflict, so the exit code must not be `TempFail`.
        judged.map_err(|error| {
            if is_delivered {
                CommandError::new(Exit::Usage, error.message)
            } else {
                error
            }
        })
    }

    /// Makes one batch of dead deliveries pending. Returns `retried`, whether the endpoint was
    /// `enabled` by it, and whether there are `more`.
    pub async fn retry_deliveries(&self, endpoint: Option<&str>) -> Result<Value, CommandError> {
        let mut url = self.url(&["v1", "deliveries", "retry"])?;
        let filters = [("state", Some("dead")), ("endpoint", endpoint)];
        let given = filters
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)));
        url.query_pairs_mut().extend_pairs(given);
        self.send(self.http.post(url)).await
    }

    /// Opens a result file. The service answers once the task is completed, or after `seconds`.
    pub async fn result(
        &self,
        id: &str,
        number: u8,
        seconds: u64,
    ) -> Result<Response, CommandError> {
        let url = self.url(&["v1", "tasks", id, "results", &number.to_string()])?;
        let request = self
            .http
            .get(waiting(url, seconds))
            .timeout(DOWNLOAD_TIMEOUT);
        match self.open(request).await? {
            Opened::Stream(response) => Ok(response),
            // The bucket gets no API key: the URL has a signature.
            Opened::Elsewhere(url) => self.open_elsewhere(url).await,
            Opened::Expired { message, .. } => Err(CommandError::new(Exit::Usage, message)),
        }
    }

    /// Makes failed result files due again. Returns how many were `retried`, and whether there are
    /// `more`.
    pub async fn retry_files(&self, task: Option<&str>) -> Result<Value, CommandError> {
        let mut url = self.url(&["v1", "archive", "retry"])?;
        if let Some(task) = task {
            url.query_pairs_mut().append_pair("task", task);
        }
        self.send(self.http.post(url)).await
    }

    /// Verifies a page of archived files.
    pub async fn verify_files(&self, cursor: Option<&str>) -> Result<Value, CommandError> {
        let mut url = self.url(&["v1", "archive", "verify"])?;
        if let Some(cursor) = cursor {
            url.query_pairs_mut().append_pair("cursor", cursor);
        }
        // A page ends with the file that is being read, however large that is.
        self.send(self.http.post(url).timeout(DOWNLOAD_TIMEOUT))
            .await
    }

    pub async fn submit(
        &self,
        kind: Kind,
        body: String,
        headers: &[(HeaderName, &str)],
    ) -> Result<Value, CommandError> {
        let url = self.url(&["v1", kind.segment(), "generations"])?;
        let request = self.http.post(url).body(body);
        let mut request = request.header(CONTENT_TYPE, "application/json");
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        self.send_submit(request).await
    }

    /// Builds a request for events. The caller adds the format that it wants.
    pub(super) fn get_events(
        &self,
        query: &[(&'static str, String)],
    ) -> Result<RequestBuilder, CommandError> {
        let mut url = self.url(&["v1", "events"])?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        Ok(self.http.get(url))
    }
}

fn waiting(mut url: Url, seconds: u64) -> Url {
    if seconds > 0 {
        let seconds = seconds.to_string();
        url.query_pairs_mut().append_pair("wait", &seconds);
    }
    url
}
