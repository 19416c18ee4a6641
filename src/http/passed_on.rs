//! EvoLink's own answers on their way to an app: status and body as they came.

use axum::body::Body;
use axum::response::Response;
use http::{HeaderValue, StatusCode, header};

use crate::evolink::Answer;

/// Never as anything that a browser would run, whatever EvoLink, or somebody in its place, says it is.
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
