//! Sends requests, and maps responses other than 2xx to errors of a command.
//!
//! The exit code is 64 if the request is wrong (400, 404, 410, 413, 415, 422), 78 if the API key is
//! wrong (401, 403), and 75 if it may succeed later (409, 429, 503). It is 69 for any other status,
//! and if there is no response at all. For a submit, see `send_submit`.

use std::io;

use http::header::LOCATION;
use http::{HeaderName, HeaderValue, StatusCode};
use reqwest::{RequestBuilder, Response};
use secrecy::ExposeSecret;
use serde_json::Value;
use url::Url;

use super::Api;
use crate::exit::{CommandError, Exit};
use crate::observe::untrusted::Untrusted;

/// The largest response body. A page of 200 tasks with the largest accepted bodies is far smaller,
/// so anything larger is not from our service.
const BODY_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The longest error message. EvoLink's may be a whole paragraph.
const MESSAGE_CHARS_MAX: usize = 4096;

/// On every answer about a submission: so this is EvoLink's answer, if it is a 4xx.
static SUBMISSION_ID: HeaderName = HeaderName::from_static("x-submission-id");

/// The response to a request for a stream of events.
pub enum Opened {
    /// The stream has begun; its body follows.
    Stream(Response),
    /// A redirect: a result file is in a bucket.
    Elsewhere(String),
    /// The log cannot continue from the requested position. From `resume_after` it misses nothing.
    Expired {
        resume_after: String,
        message: String,
    },
}

impl Api {
    pub(in crate::commands) async fn open(
        &self,
        request: RequestBuilder,
    ) -> Result<Opened, CommandError> {
        let answer = self.begin(request).await?;
        let status = answer.status();
        if status.is_success() {
            return Ok(Opened::Stream(answer));
        }
        if status == StatusCode::FOUND
            && let Some(Ok(url)) = answer.headers().get(LOCATION).map(HeaderValue::to_str)
        {
            return Ok(Opened::Elsewhere(url.to_owned()));
        }
        let body = self.read(answer).await?;
        let refusal = refused(status, &body).unwrap_or_else(|| self.not_ours(status));
        let resume_after = body.pointer("/error/resume_after").and_then(Value::as_str);
        match resume_after.filter(|_| status == StatusCode::GONE) {
            Some(id) => Ok(Opened::Expired {
                resume_after: id.to_owned(),
                message: refusal.message,
            }),
            None => Err(refusal),
        }
    }

    /// Opens a URL of a bucket, without our API key.
    pub(super) async fn open_elsewhere(&self, url: String) -> Result<Response, CommandError> {
        let failed = |why: String| {
            let message = format!("could not download from the bucket: {why}");
            CommandError::new(Exit::Unavailable, message)
        };
        let client = reqwest::Client::builder().connect_timeout(super::CONNECT_TIMEOUT);
        let client = client.build().map_err(|error| failed(error.to_string()))?;
        let request = client.get(url).timeout(super::DOWNLOAD_TIMEOUT);
        let response = request.send().await;
        let response = response.map_err(|error| failed(error.without_url().to_string()))?;
        match response.status() {
            status if status.is_success() => Ok(response),
            status => Err(failed(format!("it answered {status}"))),
        }
    }

    /// Builds a URL segment by segment, so that a slash or question mark in an id cannot change the
    /// path.
    pub(super) fn url(&self, segments: &[&str]) -> Result<Url, CommandError> {
        let mut url = self.base.clone();
        // Clients of EvoLink are given a base URL with or without the version.
        let has_version = url.path().trim_end_matches('/').ends_with("/v1");
        let mut path = url
            .path_segments_mut()
            .map_err(|()| CommandError::new(Exit::Usage, "--url cannot be a base"))?;
        path.pop_if_empty();
        if has_version {
            path.pop();
        }
        path.extend(segments);
        drop(path);
        Ok(url)
    }

    pub(super) async fn send(&self, request: RequestBuilder) -> Result<Value, CommandError> {
        let (status, body) = self.ask(request).await?;
        self.judge(status, body)
    }

    /// Sends a submit. The exit code is 76 unless it is certain that EvoLink did not accept it: the
    /// request was sent and no usable answer came, or the answer says that nobody knows. A 401 or
    /// 403 of EvoLink's is not about the API key of this client, so its exit code is 69.
    pub(super) async fn send_submit(&self, request: RequestBuilder) -> Result<Value, CommandError> {
        let unknown = |error: CommandError| {
            let message = format!(
                "{}; EvoLink may have accepted the submit: do not repeat it, look at `tasks list`",
                error.message
            );
            CommandError::new(Exit::OutcomeUnknown, message)
        };
        let answer = self.with_key(request).send().await.map_err(|error| {
            let is_sent = !(error.is_connect() || error.is_builder());
            let error = self.not_reached(error);
            if is_sent { unknown(error) } else { error }
        })?;
        let status = answer.status();
        let is_evolinks = answer.headers().contains_key(&SUBMISSION_ID);
        let is_lost = status.is_success() || status.is_server_error();
        let body = match self.read(answer).await {
            Err(error) if is_lost => return Err(unknown(error)),
            body => body?,
        };
        // A proxy may give up on a submit that goes on behind it. Only our own codes say that
        // nothing was sent.
        let is_unknown = status.is_server_error()
            && !matches!(
                body.pointer("/error/code").and_then(Value::as_str),
                Some(
                    "service_unavailable"
                        | "store_nearly_full"
                        | "evolink_unreachable"
                        | "evolink_key_rejected"
                )
            );
        self.judge(status, body).map_err(|error| {
            let exit = match status {
                _ if is_unknown => Exit::OutcomeUnknown,
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN if is_evolinks => {
                    Exit::Unavailable
                }
                _ => error.exit,
            };
            CommandError::new(exit, error.message)
        })
    }

    pub(super) fn judge(&self, status: StatusCode, body: Value) -> Result<Value, CommandError> {
        if status.is_success() {
            Ok(body)
        } else {
            Err(refused(status, &body).unwrap_or_else(|| self.not_ours(status)))
        }
    }

    /// Returns any response of the service, as long as it is JSON.
    pub(super) async fn ask(
        &self,
        request: RequestBuilder,
    ) -> Result<(StatusCode, Value), CommandError> {
        let answer = self.begin(request).await?;
        Ok((answer.status(), self.read(answer).await?))
    }

    async fn begin(&self, request: RequestBuilder) -> Result<Response, CommandError> {
        let answer = self.with_key(request).send().await;
        answer.map_err(|error| self.not_reached(error))
    }

    fn with_key(&self, request: RequestBuilder) -> RequestBuilder {
        match &self.key {
            Some(key) => request.bearer_auth(key.expose_secret()),
            None => request,
        }
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
        let hint = "is `evolink-receiver serve` running? Start it, or set --url URL";
        let (base, is_connect) = (self.base_url(), error.is_connect());
        let error = anyhow::Error::new(error.without_url());
        let causes = format!("{error:#}");
        let message = if causes.contains("invalid HTTP version") {
            format!(
                "could not reach {base}: it does not speak plain HTTP; with internal.tls give --config FILE, or --url https://…"
            )
        } else if causes.contains("UnknownIssuer") {
            format!(
                "could not reach {base}: its certificate is from an unknown issuer; give --config FILE, or set SSL_CERT_FILE"
            )
        } else if is_refused(&error) {
            // The system's words for it add nothing to the question.
            format!("could not reach {base}: {hint}")
        } else if is_connect {
            format!("could not reach {base}: {error:#}; {hint}")
        } else {
            format!("could not reach {base}: {error:#}")
        };
        CommandError::new(Exit::Unavailable, message)
    }

    fn not_ours(&self, status: StatusCode) -> CommandError {
        let base = self.base_url();
        CommandError::new(
            Exit::Unavailable,
            format!("{base} answered {status}, and not as an evolink-receiver does"),
        )
    }
}

/// Whether nothing listens at the address.
fn is_refused(error: &anyhow::Error) -> bool {
    let causes = error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>());
    let mut kinds = causes.map(io::Error::kind);
    kinds.any(|kind| kind == io::ErrorKind::ConnectionRefused)
}

/// Formats an error envelope as one line. `None` if the body is not an error envelope.
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
