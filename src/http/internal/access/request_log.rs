//! The log of requests: one line for each, and for those of strangers one line a minute.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::StatusCode;
use tracing::{Instrument as _, Span, debug, info, info_span, warn};

use super::request_id;
use crate::observe::metrics::{Metrics, known_method};
use crate::observe::throttle::Throttles;

const STRANGERS_INTERVAL: Duration = Duration::from_mins(1);

/// Marks the answer to a request that was authorized. Only those have a line each: whoever reaches
/// the listener can send the others.
#[derive(Clone, Copy, Debug)]
pub struct Authorized;

/// Where requests are counted. Cheap to clone.
#[derive(Clone, Debug)]
pub struct RequestLog {
    /// The refused requests of strangers, by status.
    strangers: Arc<Throttles<StatusCode>>,
    metrics: Metrics,
}

impl RequestLog {
    pub fn new(metrics: Metrics) -> Self {
        let strangers = Arc::new(Throttles::every(STRANGERS_INTERVAL));
        Self { strangers, metrics }
    }
}

pub async fn log(State(requests): State<RequestLog>, request: Request, next: Next) -> Response {
    let (span, method) = (span(&request), request.method().clone());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let peer = peer.map(|ConnectInfo(peer)| *peer);
    let started = Instant::now();
    let response = next.run(request).instrument(span.clone()).await;
    let took = started.elapsed();
    let route = route.as_ref().map_or("none", MatchedPath::as_str);
    (requests.metrics).request_ended(&method, route, response.status(), took);
    span.in_scope(|| log_answer(&response, took, peer, &span, &requests));
    response
}

/// Contains the route's template, never the raw path. Routes that machines poll every few seconds
/// have no span.
fn span(request: &Request) -> Span {
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or("none", MatchedPath::as_str);
    if matches!(route, "/livez" | "/readyz" | "/metrics") {
        return Span::none();
    }
    let method = known_method(request.method());
    let request_id = request_id::of(request);
    info_span!("request", method, route, request_id)
}

fn log_answer(
    response: &Response,
    took: Duration,
    peer: Option<SocketAddr>,
    span: &Span,
    requests: &RequestLog,
) {
    let status = response.status();
    let code = status.as_u16();
    let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    let is_authorized = response.extensions().get::<Authorized>().is_some();
    if is_authorized && status.is_server_error() {
        warn!(
            status = code,
            latency_ms = ms,
            "answered {code} after {ms} ms"
        );
    } else if is_authorized && !span.is_none() {
        info!(
            status = code,
            latency_ms = ms,
            "answered {code} after {ms} ms"
        );
    } else {
        debug!(
            status = code,
            latency_ms = ms,
            "answered {code} after {ms} ms"
        );
        let is_refusal = status.is_client_error() || status.is_server_error();
        if is_refusal && let Some(times) = requests.strangers.pass(status) {
            let peer = peer.map_or_else(|| "an unknown address".to_owned(), |it| it.to_string());
            let advice = advice(status);
            warn!(
                status = code, times, client.address = %peer,
                "answered {code} to {times} requests that no API key admitted, the last from {peer}: {advice}"
            );
        }
    }
}

fn advice(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED => "it sent no API key, or one that is not in internal.api_keys",
        StatusCode::FORBIDDEN => {
            "its API key lacks the scope, its link has expired, or a page of another site sent it"
        }
        StatusCode::NOT_FOUND => "there is no such route",
        StatusCode::METHOD_NOT_ALLOWED => "the route has other methods",
        _ => "see docs/errors.md",
    }
}
