//! Passes an answer of EvoLink on to an app, with status and body unchanged.

use axum::body::Body;
use axum::response::Response;
use http::{HeaderValue, StatusCode, header};

use crate::evolink::Answer;

/// Always labels the body as JSON and forbids content sniffing. So no browser executes it, whatever
/// content type EvoLink, or an impostor, declares.
pub fn pass_on(answer: Answer) -> Response {
    let mut response = Response::new(Body::from(answer.body));
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::BAD_GATEWAY);
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    if let Some(value) = answer
        .retry_after
        .and_then(|value| HeaderValue::try_from(value).ok())
    {
        headers.insert(header::RETRY_AFTER, value);
    }
    response
}
