//! Reads that EvoLink answers: models, credits, prices, and the public catalog.

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use serde::de::IgnoredAny;
use serde_json::Value;
use tracing::warn;
use url::form_urlencoded;

use super::InternalState;
use super::error::ApiError;
use super::passed_on::{pass_on, unchanged};
use crate::evolink::{Answer, NoAnswer, Read, RelayError};
use crate::http::serve::body::read_body;
use crate::submit::KeyRejection;

/// Maximum length of a query that is passed on.
const QUERY_BYTES_MAX: usize = 1024;

/// The bounds of a request for a price.
const ESTIMATE_BYTES_MAX: usize = 256 * 1024;
const ESTIMATE_TIME_MAX: std::time::Duration = std::time::Duration::from_secs(10);

/// `GET /v1/models` and `GET /v1/credits`, with our key.
pub async fn with_key(
    State(state): State<InternalState>,
    uri: Uri,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let name = uri.path().rsplit('/').next().unwrap_or_default();
    let read = Read {
        path: &[name],
        query: bounded(query.as_deref())?,
        with_key: true,
    };
    let answer = answer(state.relay.read(read).await)?;
    shown(&state, answer, &headers, true)
}

/// `GET /v1/catalog/{name}`: public data, which EvoLink's clients read without a key.
pub async fn catalog(
    State(state): State<InternalState>,
    uri: Uri,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let name = uri.path().rsplit('/').next().unwrap_or_default();
    open(&state, &["catalog", name], query.as_deref(), &headers).await
}

/// `GET /v1/catalog/models/{id}/pricing-rules`.
pub async fn pricing_rules(
    State(state): State<InternalState>,
    id: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte);
    let is_name = |id: &String| {
        (1..=128).contains(&id.len()) && id.bytes().all(allowed) && !matches!(&**id, "." | "..")
    };
    let id = id.ok().map(|Path(id)| id).filter(is_name);
    let message = "`model` must be 1 to 128 of [A-Za-z0-9._:-]";
    let id = id.ok_or_else(|| ApiError::invalid("model", message))?;
    let path = ["catalog", "models", id.as_str(), "pricing-rules"];
    open(&state, &path, query.as_deref(), &headers).await
}

/// `POST /v1/agent-estimates`: the price of a request.
pub async fn estimate(
    State(state): State<InternalState>,
    body: Body,
) -> Result<Response, ApiError> {
    let most = ESTIMATE_BYTES_MAX;
    let read = read_body(body, most, ESTIMATE_TIME_MAX, &state.body_budget, || {
        Some(())
    })
    .await;
    let (body, _share) = read.map_err(|error| ApiError::body(error, most))?;
    if serde_json::from_slice::<Value>(&body).is_err() {
        return Err(ApiError::malformed("the body is not JSON"));
    }
    let answer = answer(state.relay.estimate(body).await)?;
    shown(&state, answer, &HeaderMap::new(), true)
}

/// A task that is not in the store. EvoLink's answer is passed on, and recorded nowhere.
pub async fn unknown_task(state: &InternalState, id: &str) -> Result<Response, ApiError> {
    let read = Read {
        path: &["tasks", id],
        query: None,
        with_key: true,
    };
    let answer = answer(state.relay.read_anew(read).await)?;
    shown(state, answer, &HeaderMap::new(), true)
}

async fn open(
    state: &InternalState,
    path: &[&str],
    query: Option<&str>,
    headers: &HeaderMap,
) -> Result<Response, ApiError> {
    let query = known(query.unwrap_or_default());
    let read = Read {
        path,
        query: Some(query.as_str()).filter(|query| !query.is_empty()),
        with_key: false,
    };
    let answer = answer(state.relay.read(read).await)?;
    shown(state, answer, headers, false)
}

/// The parameters that EvoLink documents. Others are left out: each new one would be another call to
/// EvoLink, which anybody could make.
fn known(query: &str) -> String {
    let parameters = form_urlencoded::parse(query.as_bytes());
    let known = parameters
        .filter(|(name, value)| matches!(&**name, "capability" | "lifecycle") && value.len() <= 64);
    let mut kept = form_urlencoded::Serializer::new(String::new());
    kept.extend_pairs(known).finish()
}

fn bounded(query: Option<&str>) -> Result<Option<&str>, ApiError> {
    match query {
        Some(query) if query.len() > QUERY_BYTES_MAX => {
            let message = format!("the query must have at most {QUERY_BYTES_MAX} bytes");
            Err(ApiError::malformed(message))
        }
        query => Ok(query),
    }
}

fn answer(read: Result<Answer, RelayError>) -> Result<Answer, ApiError> {
    match read {
        Ok(answer) => Ok(answer),
        Err(RelayError::TooMany) => Err(ApiError::too_many_reads()),
        Err(RelayError::NoAnswer(error)) => {
            warn!(error = %error, "EvoLink did not answer a read for an app");
            Err(match error {
                NoAnswer::Unreachable { .. } => ApiError::evolink_unreachable(),
                NoAnswer::Unreadable { .. } => ApiError::evolink_unreadable(),
            })
        }
    }
}

/// Errors come in EvoLink's form. Anything but JSON, such as a redirect to a page, is a 502.
fn shown(
    state: &InternalState,
    answer: Answer,
    headers: &HeaderMap,
    with_key: bool,
) -> Result<Response, ApiError> {
    if with_key && answer.is_about_key() {
        return Err(ApiError::evolink_key_rejected(KeyRejection {
            is_by_evolink: answer.is_in_envelope(),
            key_source: state.evolink.health().key_source(),
        }));
    }
    if answer.status >= 400 {
        return Ok(pass_on(answer));
    }
    if answer.status != 200 || serde_json::from_slice::<IgnoredAny>(&answer.body).is_err() {
        return Err(ApiError::evolink_unreadable());
    }
    let etag = answer.etag.as_deref();
    let etag = etag.and_then(|etag| HeaderValue::from_str(etag).ok());
    let is_known = etag.as_ref().is_some_and(|etag| has_seen(headers, etag));
    let mut response = if is_known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        unchanged(answer)
    };
    if let Some(etag) = etag {
        response.headers_mut().insert(header::ETAG, etag);
    }
    Ok(response)
}

/// Whether `If-None-Match` names the version. Weak and strong forms are the same here (RFC 9110
/// section 13.1.2).
pub fn has_seen(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    let strong = |text: &str| text.trim().trim_start_matches("W/").to_owned();
    let Ok(etag) = etag.to_str() else {
        return false;
    };
    let mut given = headers.get_all(header::IF_NONE_MATCH).iter();
    given.any(|value| {
        let mut tags = value.to_str().unwrap_or_default().split(',');
        tags.any(|tag| tag.trim() == "*" || strong(tag) == strong(etag))
    })
}

/// The names under `/v1/catalog/`.
pub const CATALOG: [&str; 5] = [
    "/v1/catalog/models",
    "/v1/catalog/health",
    "/v1/catalog/pricing",
    "/v1/catalog/pricing-rules",
    "/v1/catalog/setup",
];
