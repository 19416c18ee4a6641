//! The checks that a callback must pass before a handler can hold it, in the order of rule B1. The
//! token comes first and is checked alone, before the body is read and without a query to the
//! store. Then follow the encoding, the declared length, the arrival of the body, and its form.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{ConnectInfo, FromRequest, Request};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use secrecy::ExposeSecret;
use serde_json::json;
use tokio::time::Instant;

use super::answers::{Counted, deadline, try_again};
use super::state::PublicState;
use crate::domain::callback::probe::is_probe;
use crate::domain::callback::token_echo;
use crate::domain::callback::{Subject, TokenFault};
use crate::domain::observation::Observation;
use crate::http::serve::body::{BodyError, BudgetShare, declared_length, is_identity, read_body};
use crate::observe::callback_path::CallbackRefusal;
use crate::observe::metrics::CallbackEnd;

/// A complete, parsed callback whose URL was issued by us. Only the extractor creates one.
#[derive(Debug)]
pub struct VerifiedCallback {
    pub subject: Subject,
    pub headers: HeaderMap,
    pub content: CallbackContent,
    /// The other end of the connection.
    pub peer: Option<SocketAddr>,
    pub deadline: Instant,
    pub counted: Counted,
    /// Held until the callback is answered.
    /// Held as long as the body is.
    pub share: BudgetShare,
}

#[derive(Debug)]
pub enum CallbackContent {
    Observation(Observation),
    /// Not a task body. It is kept anyway, because its sender holds one of our URLs.
    Unreadable {
        body: Bytes,
        reason: String,
    },
}

/// Why a callback is refused without a row in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallbackRejection {
    /// It is no callback, but a receiver that asks whether it reaches one with its key ring. The
    /// proof is answered. The body is not read.
    Probe(String),
    /// No valid token. The answer is the same as for a path that does not exist.
    NotFound(TokenFault),
    UnsupportedEncoding,
    Body(BodyError),
}

impl FromRequest<Arc<PublicState>> for VerifiedCallback {
    type Rejection = CallbackRejection;

    async fn from_request(
        request: Request,
        state: &Arc<PublicState>,
    ) -> Result<Self, CallbackRejection> {
        let deadline = deadline(state);
        let peer = peer(&request);
        let refuse = |rejection: CallbackRejection| {
            if let Some(reason) = rejection.reason() {
                state.callback_path.refused(reason, peer);
            }
            rejection
        };
        if let Some(probe) = probe(&request) {
            let proof = state.key_ring.answer_probe(probe, state.clock.now());
            let fault = || refuse(CallbackRejection::NotFound(TokenFault::BadMac));
            return Err(proof.map_or_else(fault, CallbackRejection::Probe));
        }
        let (subject, mac) = subject(&request, state)
            .map_err(CallbackRejection::NotFound)
            .map_err(refuse)?;
        let mut counted = Counted::begin(state);
        let (mut parts, body) = request.into_parts();
        let keys = state.evolink_key.known();
        let keys = keys.iter().map(ExposeSecret::expose_secret);
        let secrets: Vec<&str> = std::iter::once(mac.as_str()).chain(keys).collect();
        drop_echoes(&mut parts.headers, &secrets);
        match read(&parts.headers, body, &subject, &secrets, state).await {
            Ok((content, share)) => Ok(Self {
                subject,
                headers: parts.headers,
                content,
                peer,
                deadline,
                counted,
                share,
            }),
            Err(rejection) => {
                counted.end(CallbackEnd::Refused);
                Err(refuse(rejection))
            }
        }
    }
}

/// The other end of the connection, which may be a proxy.
pub fn peer(request: &Request) -> Option<SocketAddr> {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    peer.map(|ConnectInfo(peer)| *peer)
}

/// The token in the path, if it is spelled as a probe's.
fn probe(request: &Request) -> Option<&str> {
    let (_, token) = request.uri().path().rsplit_once('/')?;
    is_probe(token).then_some(token)
}

/// The subject that the token in the path stands for, and the token's secret part. The token is
/// compared as it is spelled in the request line. axum's path parameters are percent-decoded and
/// would therefore accept many spellings of one token.
fn subject(request: &Request, state: &PublicState) -> Result<(Subject, String), TokenFault> {
    let path = request.uri().path();
    let (_, token) = path.rsplit_once('/').ok_or(TokenFault::Malformed)?;
    let now = state.clock.now();
    let subject = state.key_ring.verify(token, now, state.token_lifetime)?;
    let (_, mac) = token.rsplit_once('.').ok_or(TokenFault::Malformed)?;
    Ok((subject, mac.to_owned()))
}

/// Removes headers that repeat a callback token, such as a proxy's `X-Original-URI`, or one of
/// `secrets`, because headers may be kept.
fn drop_echoes(headers: &mut HeaderMap, secrets: &[&str]) {
    let shortest = secrets.iter().map(|secret| secret.len()).min();
    let is_echo = |value: &HeaderValue| {
        Some(value.len()) >= shortest && token_echo::is_found(value.as_bytes(), secrets)
    };
    let echoes = headers.iter().filter(|(_, value)| is_echo(value));
    let names: Vec<HeaderName> = echoes.map(|(name, _)| name.clone()).collect();
    for name in names {
        headers.remove(name);
    }
}

async fn read(
    headers: &HeaderMap,
    body: Body,
    subject: &Subject,
    secrets: &[&str],
    state: &PublicState,
) -> Result<(CallbackContent, BudgetShare), CallbackRejection> {
    if !is_identity(headers) {
        return Err(CallbackRejection::UnsupportedEncoding);
    }
    let bytes_max = state.body_bytes_max;
    if declared_length(headers).is_some_and(|length| length > bytes_max as u64) {
        return Err(CallbackRejection::Body(BodyError::TooLarge));
    }
    let take_slot = || state.unfinished.try_take(subject);
    let (time_max, budget) = (state.body_timeout, &state.body_budget);
    let (raw, share) = read_body(body, bytes_max, time_max, budget, take_slot)
        .await
        .map_err(CallbackRejection::Body)?;
    let raw = token_echo::redact(raw, secrets);
    let content = match Observation::parse(raw.clone()) {
        Ok(observation) => CallbackContent::Observation(observation),
        Err(error) => CallbackContent::Unreadable {
            body: raw,
            reason: error.to_string(),
        },
    };
    Ok((content, share))
}

impl CallbackRejection {
    /// `None` for a probe, which is not refused.
    const fn reason(&self) -> Option<CallbackRefusal> {
        Some(match self {
            Self::Probe(_) => return None,
            Self::NotFound(TokenFault::Malformed) => CallbackRefusal::NoToken,
            Self::NotFound(TokenFault::UnknownKey) => CallbackRefusal::UnknownKey,
            Self::NotFound(TokenFault::BadMac) => CallbackRefusal::BadMac,
            Self::NotFound(TokenFault::Expired) => CallbackRefusal::Expired,
            Self::UnsupportedEncoding => CallbackRefusal::Encoded,
            Self::Body(BodyError::TooLarge) => CallbackRefusal::TooLarge,
            Self::Body(BodyError::TooSlow) => CallbackRefusal::TooSlow,
            Self::Body(BodyError::NoRoom) => CallbackRefusal::NoRoom,
            Self::Body(BodyError::TooManyUnfinished) => CallbackRefusal::TooManyUnfinished,
            Self::Body(BodyError::Broken) => CallbackRefusal::CutOff,
        })
    }
}

impl IntoResponse for CallbackRejection {
    fn into_response(self) -> Response {
        let status = match self {
            Self::Probe(proof) => {
                let body = json!({"result": "probe", "proof": proof});
                return Json(body).into_response();
            }
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::UnsupportedEncoding => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Body(BodyError::NoRoom | BodyError::TooManyUnfinished) => return try_again(),
            Self::Body(error) => error.status(),
        };
        status.into_response()
    }
}
