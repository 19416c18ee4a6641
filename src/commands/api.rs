//! The internal API as a client of it sees it. `submit`, `tasks`, `quarantine` and `demo` use it; an answer stays JSON, because most of it
//! is EvoLink's, and may be anything.
//!
//! What an answer other than 2xx makes of the exit code: 64 if what was asked for is wrong (400, 404, 410, 413, 415, 422),
//! 78 if the API key is (401, 403), 75 if it may work later (409, 429, 503), else 69, as when nobody answers at all.

use std::time::Duration;

use http::{HeaderName, StatusCode};
use reqwest::{Client, RequestBuilder, Response};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use url::Url;

use crate::exit::{CommandError, Exit};
use crate::untrusted::Untrusted;

/// Beyond the 30 s that a submit is given for EvoLink, and the 60 s that a question may wait.
const TIMEOUT: Duration = Duration::from_secs(75);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A page of 200 tasks with the largest bodies that are taken in is far below; what is above is not our service.
const BODY_BYTES_MAX: usize = 64 * 1024 * 1024;

/// An error's message may be a whole paragraph of EvoLink's.
const MESSAGE_CHARS_MAX: usize = 4096;

static IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// What became of an entry of the quarantine that was replayed.
#[derive(Debug)]
pub enum ReplayAnswer {
    /// The service's answer: `result` and `entry`.
    Done(Value),
    /// The body is still not a task, for this reason.
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
    pub fn new(base: Url, key: Option<SecretString>) -> Result<Self, CommandError> {
        let mut http = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TIMEOUT)
            .redirect(reqwest::redirect::Policy::none());
        if base.scheme() == "http" {
            // A proxy from the environment is for the world outside, and roots are for TLS: without any, reqwest makes no
            // client at all.
            http = http.no_proxy().tls_certs_only([]);
        }
        let http = http.build().map_err(|error| {
            CommandError::new(
                Exit::Unavailable,
                format!("could not make an HTTP client: {error}"),
            )
        })?;
        Ok(Self { http, base, key })
    }

    /// Without a slash at its end.
    pub fn base_url(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    pub async fn task(&self, id: &str) -> Result<Value, CommandError> {
        self.task_within(id, 0).await
    }

    /// The task once it is over, or after so many seconds; the service has it that more than 60 count as 60.
    pub async fn task_within(&self, id: &str, seconds: u64) -> Result<Value, CommandError> {
        let url = self.url(&["v1", "tasks", id])?;
        self.send(self.http.get(waiting(url, seconds))).await
    }

    /// How a task came to be what it is: observations and events.
    pub async fn history(&self, id: &str) -> Result<Vec<Value>, CommandError> {
        let url = self.url(&["v1", "tasks", id, "events"])?;
        Ok(take_data(self.send(self.http.get(url)).await?))
    }

    /// A page of tasks as it came: `data` and `next`.
    pub async fn list(&self, query: &[(&str, String)]) -> Result<Value, CommandError> {
        let mut url = self.url(&["v1", "tasks"])?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        self.send(self.http.get(url)).await
    }

    /// A page of what is in quarantine, as it came: `data` and `next`.
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

    /// A page of deliveries, as it came: `data` and `next`.
    pub async fn deliveries(&self, query: &[(&str, String)]) -> Result<Value, CommandError> {
        let mut url = self.url(&["v1", "deliveries"])?;
        url.query_pairs_mut().extend_pairs(query);
        self.send(self.http.get(url)).await
    }

    /// The delivery as it is then.
    pub async fn retry_delivery(&self, id: i64) -> Result<Value, CommandError> {
        let url = self.url(&["v1", "deliveries", &id.to_string(), "retry"])?;
        let (status, body) = self.ask(self.http.post(url)).await?;
        let is_delivered = text(&body, "/error/code") == Some("already_delivered");
        let judged = self.judge(status, body);
        // A conflict that no later try resolves.
        judged.map_err(|error| {
            if is_delivered {
                CommandError::new(Exit::Usage, error.message)
            } else {
                error
            }
        })
    }

    /// So many of the dead ones as the service makes pending at a time: `retried`, and whether there are `more`.
    pub async fn retry_deliveries(&self, endpoint: Option<&str>) -> Result<Value, CommandError> {
        let mut url = self.url(&["v1", "deliveries", "retry"])?;
        let filters = [("state", Some("dead")), ("endpoint", endpoint)];
        let given = filters
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)));
        url.query_pairs_mut().extend_pairs(given);
        self.send(self.http.post(url)).await
    }

    pub async fn submit(
        &self,
        body: &Value,
        idempotency_key: Option<&str>,
        wait_seconds: u64,
    ) -> Result<Value, CommandError> {
        let url = self.url(&["v1", "images", "generations"])?;
        let mut request = self.http.post(waiting(url, wait_seconds)).json(body);
        if let Some(key) = idempotency_key {
            request = request.header(IDEMPOTENCY_KEY.clone(), key);
        }
        self.send(request).await
    }

    /// Asks for events; how they are to come is for the caller to say.
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

    /// An answer whose body is yet to come.
    pub(super) async fn open(&self, request: RequestBuilder) -> Result<Response, CommandError> {
        let answer = self.begin(request).await?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let body = self.read(answer).await?;
        Err(refused(status, &body).unwrap_or_else(|| self.not_ours(status)))
    }

    /// Segment by segment, so that an id with a slash or a question mark in it asks for nothing else.
    fn url(&self, segments: &[&str]) -> Result<Url, CommandError> {
        let mut url = self.base.clone();
        url.path_segments_mut()
            .map_err(|()| CommandError::new(Exit::Usage, "--url cannot be a base"))?
            .pop_if_empty()
            .extend(segments);
        Ok(url)
    }

    async fn send(&self, request: RequestBuilder) -> Result<Value, CommandError> {
        let (status, body) = self.ask(request).await?;
        self.judge(status, body)
    }

    fn judge(&self, status: StatusCode, body: Value) -> Result<Value, CommandError> {
        if status.is_success() {
            Ok(body)
        } else {
            Err(refused(status, &body).unwrap_or_else(|| self.not_ours(status)))
        }
    }

    /// Whatever the service answers, if it is JSON.
    async fn ask(&self, request: RequestBuilder) -> Result<(StatusCode, Value), CommandError> {
        let answer = self.begin(request).await?;
        Ok((answer.status(), self.read(answer).await?))
    }

    async fn begin(&self, mut request: RequestBuilder) -> Result<Response, CommandError> {
        if let Some(key) = &self.key {
            request = request.bearer_auth(key.expose_secret());
        }
        let answer = request.send().await;
        answer.map_err(|error| self.not_reached(error))
    }

    async fn read(&self, mut answer: Response) -> Result<Value, CommandError> {
        let status = answer.status();
        let mut body = Vec::new();
        while let Some(chunk) = answer
            .chunk()
            .await
            .map_err(|error| self.not_reached(error))?
        {
            if body.len() + chunk.len() > BODY_BYTES_MAX {
                return Err(self.not_ours(status));
            }
            body.extend_from_slice(&chunk);
        }
        serde_json::from_slice(&body).map_err(|_| self.not_ours(status))
    }

    fn not_reached(&self, error: reqwest::Error) -> CommandError {
        let error = anyhow::Error::new(error.without_url());
        let base = self.base_url();
        CommandError::new(
            Exit::Unavailable,
            format!("could not reach {base}: {error:#}"),
        )
    }

    fn not_ours(&self, status: StatusCode) -> CommandError {
        let base = self.base_url();
        CommandError::new(
            Exit::Unavailable,
            format!("{base} answered {status}, and not as an evolink-receiver does"),
        )
    }
}

fn waiting(mut url: Url, seconds: u64) -> Url {
    if seconds > 0 {
        let seconds = seconds.to_string();
        url.query_pairs_mut().append_pair("wait", &seconds);
    }
    url
}

/// The `data` of a page.
pub fn take_data(mut page: Value) -> Vec<Value> {
    match page.get_mut("data").map(Value::take) {
        Some(Value::Array(data)) => data,
        _ => Vec::new(),
    }
}

/// The text at a JSON pointer.
pub fn text<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer)?.as_str()
}

/// What our service says of a task's state; empty if it is none of our tasks.
pub fn state(task: &Value) -> &str {
    text(task, "/receiver/state").unwrap_or_default()
}

/// From a task's submit to its outcome.
pub fn outcome_after_ms(task: &Value) -> Option<i64> {
    let outcome = time_ms(task, "/receiver/outcome_at")?;
    Some(outcome - time_ms(task, "/receiver/submitted_at")?)
}

/// A time of ours, in milliseconds since the Unix epoch.
pub fn time_ms(value: &Value, pointer: &str) -> Option<i64> {
    let time: jiff::Timestamp = text(value, pointer)?.parse().ok()?;
    Some(time.as_millisecond())
}

/// Milliseconds as seconds, for people.
pub fn seconds(ms: i64) -> String {
    let sign = if ms < 0 { "-" } else { "" };
    let ms = ms.unsigned_abs();
    format!("{sign}{}.{:03} s", ms / 1000, ms % 1000)
}

/// Whether nothing more is going to happen to a task by itself.
pub fn is_terminal(state: &str) -> bool {
    matches!(
        state,
        "completed" | "failed" | "cancelled" | "rejected" | "unresolved"
    )
}

/// The one line of an error envelope; `None` if it is none.
fn refused(status: StatusCode, body: &Value) -> Option<CommandError> {
    let error = body.get("error")?;
    let message = error.get("message")?.as_str()?;
    let message = Untrusted::up_to(message, MESSAGE_CHARS_MAX);
    let code = match error.get("code") {
        Some(Value::String(code)) => code.clone(),
        Some(Value::Number(code)) => code.to_string(),
        _ => String::new(),
    };
    let mut line = format!("{} {}: {message}", status.as_u16(), Untrusted(&code));
    if let Some(param) = error.get("param").and_then(Value::as_str) {
        line = format!("{line} (param: {})", Untrusted(param));
    }
    if let Some(id) = error.get("submission_id").and_then(Value::as_str) {
        line = format!("{line} (submission_id: {})", Untrusted(id));
    }
    Some(CommandError::new(exit_for(status), line))
}

fn exit_for(status: StatusCode) -> Exit {
    match status.as_u16() {
        400 | 404 | 410 | 413 | 415 | 422 => Exit::Usage,
        401 | 403 => Exit::Config,
        409 | 429 | 503 => Exit::TempFail,
        _ => Exit::Unavailable,
    }
}
