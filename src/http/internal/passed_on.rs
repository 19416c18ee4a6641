//! Passes an answer of EvoLink on to an app.

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderValue, StatusCode, header};

use super::error::ApiError;
use crate::evolink::Answer;

/// Passes an error on, with status and body unchanged if it is in EvoLink's own form. Any other,
/// such as the page of a gateway, is put into our form with EvoLink's status.
pub fn pass_on(answer: Answer) -> Response {
    if answer.is_in_envelope() {
        return unchanged(answer);
    }
    let mut response = ApiError::of_evolink(&answer).into_response();
    add_headers(&mut response, answer.retry_after);
    response
}

/// Passes an answer in JSON on, with status and body unchanged.
pub fn unchanged(answer: Answer) -> Response {
    let mut response = Response::new(Body::from(answer.body));
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::BAD_GATEWAY);
    add_headers(&mut response, answer.retry_after);
    response
}

/// Always labels the body as JSON and forbids content sniffing. So no browser executes it, whatever
/// content type EvoLink, or an impostor, declares.
fn add_headers(response: &mut Response, retry_after: Option<String>) {
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    if let Some(value) = retry_after.and_then(|value| HeaderValue::try_from(value).ok()) {
        headers.insert(header::RETRY_AFTER, value);
    }
}
