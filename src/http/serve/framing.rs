//! The layer between hyper and the router. It refuses requests whose framing two readers could
//! interpret differently (rule B2), and it decides which answer is the last on its connection.
//! Invariant: if a request body was not read to its end, no further request follows on that
//! connection.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, HOST, HeaderValue, RETRY_AFTER, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, Request, StatusCode, Version};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use tower::ServiceExt;

use super::limits::Limits;
use super::peer::Peer;
use super::progress::{InRequest, Progress};
use crate::retry_after;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");

/// Answers one request: with an error if its framing is invalid or it takes too long, otherwise
/// with the router's response.
pub async fn answer(
    request: Request<Incoming>,
    (peer, client): (SocketAddr, &Peer),
    router: Router,
    limits: &Limits,
    progress: &Arc<Progress>,
) -> Result<Response, Infallible> {
    let (in_request, number) = progress.begin_request();
    let may_stay = request.version() == Version::HTTP_11 && !asks_for_close(request.headers());
    let fault = find_fault(request.version(), request.headers());
    // hyper hides a Content-Length that comes together with `chunked`, so we cannot refuse such a
    // request. Closing the connection after the answer prevents smuggling: there is no second
    // request to misread.
    let is_chunked = request.headers().contains_key(TRANSFER_ENCODING);
    let is_read = Arc::new(AtomicBool::new(request.body().is_end_stream()));

    // Boxed because each connection reserves space for this future even while idle, and a request
    // is large.
    let mut response = match fault {
        Some(fault) => error_response(StatusCode::BAD_REQUEST, "invalid_request", fault),
        None => {
            let mut request = observed(request, peer, &is_read);
            request.extensions_mut().insert(client.clone());
            routed(Box::pin(router.oneshot(request)), limits.request_timeout).await
        }
    };
    let is_last = fault.is_some()
        || is_chunked
        || number >= limits.requests_per_connection_max
        || !is_read.load(Ordering::Relaxed)
        || matches!(
            response.status(),
            StatusCode::REQUEST_TIMEOUT | StatusCode::PAYLOAD_TOO_LARGE
        );
    if is_last {
        response
            .headers_mut()
            .insert(CONNECTION, HeaderValue::from_static("close"));
    } else if may_stay {
        announce_stay(response.headers_mut(), limits.idle_timeout);
    }
    Ok(response.map(|body| {
        Body::new(GuardedBody {
            body,
            _in_request: in_request,
        })
    }))
}

fn asks_for_close(headers: &HeaderMap) -> bool {
    let values = headers.get_all(CONNECTION).iter();
    let mut words = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    words.any(|word| word.trim_ascii().eq_ignore_ascii_case(b"close"))
}

/// Says for how long the connection stays open, a second less than it does: a client that reuses it
/// at the last moment would get no answer. hyper adds `Connection: close` if this answer is the last
/// because of a shutdown, and that counts.
fn announce_stay(headers: &mut HeaderMap, idle_timeout: Duration) {
    let seconds = idle_timeout.as_secs().saturating_sub(1);
    if seconds == 0 || headers.contains_key(CONNECTION) {
        return;
    }
    if let Ok(stay) = HeaderValue::from_str(&format!("timeout={seconds}")) {
        headers.insert(KEEP_ALIVE, stay);
    }
}

fn observed(
    request: Request<Incoming>,
    peer: SocketAddr,
    is_read: &Arc<AtomicBool>,
) -> Request<Body> {
    let is_read = Arc::clone(is_read);
    let mut request = request.map(|incoming| Body::new(ObservedBody { incoming, is_read }));
    request.extensions_mut().insert(ConnectInfo(peer));
    request
}

async fn routed(
    answering: impl Future<Output = Result<Response, Infallible>>,
    time_max: Option<Duration>,
) -> Response {
    let Some(time_max) = time_max else {
        return unfailing(answering.await);
    };
    match tokio::time::timeout(time_max, answering).await {
        Ok(answered) => unfailing(answered),
        Err(_elapsed) => {
            let message = "The request could not be completed in time.";
            let mut response = error_response(
                StatusCode::SERVICE_UNAVAILABLE,
                "service_unavailable",
                message,
            );
            response
                .headers_mut()
                .insert(RETRY_AFTER, retry_after::SOON.into());
            response
        }
    }
}

fn unfailing(answered: Result<Response, Infallible>) -> Response {
    match answered {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

/// Returns what is wrong with the framing, as text for the client. hyper has already refused the
/// other violations of rule B2.
fn find_fault(version: Version, headers: &HeaderMap) -> Option<&'static str> {
    match headers.get_all(HOST).iter().count() {
        1 => {}
        0 if version == Version::HTTP_10 => {}
        _ => return Some("The request must have exactly one Host header."),
    }
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => None,
        (Some(coding), None) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => None,
        _ => Some("The only supported Transfer-Encoding is chunked."),
    }
}

/// An error in EvoLink's envelope. `message` must need no JSON escaping.
fn error_response(status: StatusCode, code: &str, message: &str) -> Response {
    let kind = if status.is_client_error() {
        "invalid_request_error"
    } else {
        "api_error"
    };
    let body = format!(r#"{{"error":{{"code":"{code}","message":"{message}","type":"{kind}"}}}}"#);
    (status, [(CONTENT_TYPE, "application/json")], body).into_response()
}

/// A request body that records whether it was read to its end.
struct ObservedBody {
    incoming: Incoming,
    is_read: Arc<AtomicBool>,
}

impl HttpBody for ObservedBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.incoming).poll_frame(cx));
        let is_end = match &frame {
            None => true,
            Some(Ok(_)) => self.incoming.is_end_stream(),
            Some(Err(_)) => false,
        };
        if is_end {
            self.is_read.store(true, Ordering::Relaxed);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

/// A response body that keeps its connection busy until it has been handed to hyper.
struct GuardedBody {
    body: Body,
    _in_request: InRequest,
}

impl HttpBody for GuardedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
