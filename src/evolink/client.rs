//! The client for EvoLink's API: submits, polls, and reads for apps. Each call is bounded in time
//! and size.
//!
//! A submit always uses a new connection, from a client that keeps none. So a stale connection can
//! neither leave the outcome of a submit unknown, nor cause a hidden second attempt (hyper-util
//! resends only on reused connections). Redirects are never followed, proxies never used, cookies
//! never kept.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use arc_swap::ArcSwap;
use bytes::{Bytes, BytesMut};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, DATE, ETAG, HeaderName, HeaderValue};
use reqwest::header::{IF_NONE_MATCH, RETRY_AFTER};
use reqwest::{Certificate, Client, RequestBuilder, Response};
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use super::health::EvolinkHealth;
use super::http::{bearer, causes, client_builder, is_encoded};
use super::read::Read;
use super::redaction::{EvolinkKey, Redaction};
use super::reply::{Answer, NoAnswer, PollReply, SubmitReply};
use crate::domain::callback::KeyRing;
use crate::domain::ids::{SubmissionId, TaskId};
use crate::domain::kind::Kind;

/// The `User-Agent` of all requests.
pub const USER_AGENT: &str = concat!("evolink-receiver/", env!("CARGO_PKG_VERSION"));

/// The maximum size of an answer. EvoLink's answers have a few hundred bytes.
const BODY_BYTES_MAX: usize = 1024 * 1024;

/// The maximum size and time of an answer that is passed on to an app. The catalog of all models is
/// the largest.
const RELAYED_BYTES_MAX: usize = 4 * 1024 * 1024;
const RELAY_TIMEOUT: Duration = Duration::from_secs(10);

/// The client for EvoLink's API.
pub struct EvolinkClient {
    /// Ends with a slash.
    base_url: Url,
    /// The header that holds the key.
    bearer: ArcSwap<HeaderValue>,
    redaction: Redaction,
    submits: Client,
    reads: Client,
    health: EvolinkHealth,
}

impl EvolinkClient {
    /// `timeout` bounds a whole call, from connecting to the last byte of the answer.
    ///
    /// # Errors
    /// If the URL or the key is unusable, or the system has no root certificates.
    pub fn new(
        base_url: Url,
        api_key: SecretString,
        timeout: Duration,
        user_agent: &str,
    ) -> anyhow::Result<Self> {
        Self::with_roots(base_url, api_key, timeout, user_agent, &[])
    }

    /// The same as `new`, but trusts `roots` in addition to the system's root certificates.
    pub fn with_roots(
        mut base_url: Url,
        api_key: SecretString,
        timeout: Duration,
        user_agent: &str,
        roots: &[Certificate],
    ) -> anyhow::Result<Self> {
        ensure!(
            matches!(base_url.scheme(), "http" | "https") && base_url.has_host(),
            "EvoLink's base URL must be http or https"
        );
        ensure!(
            base_url.username().is_empty() && base_url.password().is_none(),
            "EvoLink's base URL must not hold a user name or password"
        );
        ensure!(
            base_url.query().is_none() && base_url.fragment().is_none(),
            "EvoLink's base URL must not hold a query or fragment"
        );
        ensure!(
            !api_key.expose_secret().is_empty(),
            "EvoLink's API key is empty"
        );
        if !base_url.path().ends_with('/') {
            let path = format!("{}/", base_url.path());
            base_url.set_path(&path);
        }
        let builder = || client_builder(timeout, user_agent).tls_certs_merge(roots.iter().cloned());
        let no_client = "could not make a client for EvoLink";
        Ok(Self {
            submits: builder()
                .pool_max_idle_per_host(0)
                .build()
                .context(no_client)?,
            reads: builder().build().context(no_client)?,
            base_url,
            bearer: ArcSwap::from_pointee(bearer(&api_key)?),
            redaction: Redaction::new(api_key),
            health: EvolinkHealth::default(),
        })
    }

    /// Sets where the API key was configured, for messages that say where to replace it.
    #[must_use]
    pub fn with_key_source(self, key_source: &'static str) -> Self {
        self.health.set_key_source(key_source);
        self
    }

    /// Makes calls with another key from now on. Returns whether it is another.
    ///
    /// # Errors
    /// If it cannot be sent.
    pub fn replace_key(
        &self,
        api_key: SecretString,
        key_source: &'static str,
    ) -> anyhow::Result<bool> {
        let bearer = bearer(&api_key)?;
        self.health.set_key_source(key_source);
        if bearer == **self.bearer.load() {
            return Ok(false);
        }
        // First, because an answer may repeat it.
        self.redaction.api_key().add(api_key);
        self.bearer.store(Arc::new(bearer));
        Ok(true)
    }

    /// Makes the client also redact the callback tokens of the submission that a call is about.
    #[must_use]
    pub fn with_key_ring(mut self, key_ring: Arc<KeyRing>) -> Self {
        self.redaction = self.redaction.with_key_ring(key_ring);
        self
    }

    /// The key that every call is made with.
    pub const fn api_key(&self) -> &EvolinkKey {
        self.redaction.api_key()
    }

    /// Submits the JSON `body`, once.
    pub async fn submit(
        &self,
        kind: Kind,
        body: Bytes,
        submission_id: SubmissionId,
    ) -> SubmitReply {
        let request = self
            .submits
            .post(self.url(&["v1", kind.segment(), "generations"]))
            .header("idempotency-key", submission_id.to_string())
            .header(CONTENT_TYPE, "application/json")
            .body(body);
        let answered = self.answer_with_key(request).await;
        let answered = self.redaction.without_tokens_of(submission_id, answered);
        if let Ok(answer) = &answered {
            self.health.saw_submit(answer);
        }
        SubmitReply::of(answered)
    }

    /// Asks for the status of a task.
    pub async fn poll(&self, task_id: &TaskId) -> PollReply {
        match self.task(task_id).await {
            Some(answered) => PollReply::of(answered),
            None => PollReply::Gone,
        }
    }

    /// Asks for the status of the task of a submission.
    pub async fn poll_submission(&self, id: SubmissionId, task_id: &TaskId) -> PollReply {
        match self.task(task_id).await {
            Some(answered) => PollReply::of(self.redaction.without_tokens_of(id, answered)),
            None => PollReply::Gone,
        }
    }

    /// Returns `None` if the id, as a path segment, would lead to another resource.
    async fn task(&self, task_id: &TaskId) -> Option<Result<Answer, NoAnswer>> {
        if matches!(task_id.as_str(), "." | "..") {
            return None;
        }
        let url = self.url(&["v1", "tasks", task_id.as_str()]);
        Some(self.answer_with_key(self.reads.get(url)).await)
    }

    /// Asks for the remaining credits, and returns the answer whatever its status is.
    ///
    /// # Errors
    /// `NoAnswer` if there is no readable answer.
    pub async fn credits(&self) -> Result<Answer, NoAnswer> {
        let request = self.reads.get(self.url(&["v1", "credits"]));
        self.answer_with_key(request).await
    }

    /// The state of our account, according to the answers to these calls.
    pub const fn health(&self) -> &EvolinkHealth {
        &self.health
    }

    /// Makes a call that EvoLink accepts only with a valid key.
    async fn answer_with_key(&self, request: RequestBuilder) -> Result<Answer, NoAnswer> {
        let request = self.with_key(request);
        let answer = self.answer(request, BODY_BYTES_MAX).await?;
        self.health.saw(&answer);
        Ok(answer)
    }

    fn with_key(&self, request: RequestBuilder) -> RequestBuilder {
        request.header(AUTHORIZATION, HeaderValue::clone(&self.bearer.load()))
    }

    /// Makes a read for an app. With `etag`, EvoLink answers 304 if nothing has changed.
    ///
    /// # Errors
    /// `NoAnswer` if there is no readable answer.
    pub async fn read(&self, read: Read<'_>, etag: Option<&str>) -> Result<Answer, NoAnswer> {
        let mut url = self.url(&["v1"]);
        url.path_segments_mut()
            .expect("an http URL has a path")
            .extend(read.path);
        url.set_query(read.query);
        let mut request = self.reads.get(url).timeout(RELAY_TIMEOUT);
        // Public data needs none.
        if read.with_key {
            request = self.with_key(request);
        }
        let request = match etag {
            Some(etag) => request.header(IF_NONE_MATCH, etag),
            None => request,
        };
        let answer = self.answer(request, RELAYED_BYTES_MAX).await?;
        if read.with_key {
            self.health.saw(&answer);
        }
        Ok(answer)
    }

    /// Asks for the price of a request.
    ///
    /// # Errors
    /// `NoAnswer` if there is no readable answer.
    pub async fn estimate(&self, body: Bytes) -> Result<Answer, NoAnswer> {
        let request = self.reads.post(self.url(&["v1", "agent-estimates"]));
        let request = request.header(CONTENT_TYPE, "application/json").body(body);
        self.answer_with_key(request.timeout(RELAY_TIMEOUT)).await
    }

    fn url(&self, segments: &[&str]) -> Url {
        let mut url = self.base_url.clone();
        url.path_segments_mut()
            .expect("an http URL has a path")
            .pop_if_empty()
            .extend(segments);
        url
    }

    async fn answer(&self, request: RequestBuilder, bytes_max: usize) -> Result<Answer, NoAnswer> {
        let response = request
            .send()
            .await
            .map_err(|error| self.no_answer(error))?;
        let status = response.status().as_u16();
        let header = |name: &HeaderName| {
            let value = response.headers().get(name)?.to_str().ok()?;
            Some(self.redaction.text(value))
        };
        let request_id = header(&HeaderName::from_static("x-request-id"))
            .or_else(|| header(&HeaderName::from_static("x-oneapi-request-id")));
        let mut answer = Answer {
            status,
            body: Bytes::new(),
            content_type: header(&CONTENT_TYPE),
            retry_after: header(&RETRY_AFTER),
            etag: header(&ETAG),
            request_id,
            date: header(&DATE),
        };
        answer.body = self.body(response, bytes_max).await?;
        Ok(answer)
    }

    async fn body(&self, mut response: Response, bytes_max: usize) -> Result<Bytes, NoAnswer> {
        let status = Some(response.status().as_u16());
        let unreadable = |reason: &str| NoAnswer::Unreadable {
            reason: reason.to_owned(),
            status,
            body: Bytes::new(),
        };
        if is_encoded(response.headers()) {
            return Err(unreadable(
                "the answer is compressed, which was not asked for",
            ));
        }
        let mut body = BytesMut::new();
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) if body.len() + chunk.len() > bytes_max => {
                    let mib = bytes_max / (1024 * 1024);
                    return Err(unreadable(&format!("the answer is larger than {mib} MiB")));
                }
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                Ok(None) => return Ok(self.redaction.body(body.freeze())),
                Err(error) => {
                    return Err(NoAnswer::Unreadable {
                        reason: self.reason(error),
                        status,
                        body: self.redaction.body(body.freeze()),
                    });
                }
            }
        }
    }

    fn no_answer(&self, error: reqwest::Error) -> NoAnswer {
        if error.is_connect() {
            let reason = self.reason(error);
            return NoAnswer::Unreachable { reason };
        }
        NoAnswer::Unreadable {
            reason: self.reason(error),
            status: None,
            body: Bytes::new(),
        }
    }

    fn reason(&self, error: reqwest::Error) -> String {
        let timed_out = if error.is_timeout() {
            "timed out: "
        } else {
            ""
        };
        let causes = self.redaction.text(&causes(&error.without_url()));
        format!("{timed_out}{causes}")
    }
}

impl std::fmt::Debug for EvolinkClient {
    /// Omits the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EvolinkClient")
            .field("base_url", &self.base_url.as_str())
            .finish_non_exhaustive()
    }
}
