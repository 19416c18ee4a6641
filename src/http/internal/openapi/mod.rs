//! The description of this API: OpenAPI 3.1 at `/openapi.json`, and a page at `/docs` that shows
//! it. Neither needs an API key, because both are the same at every installation.
//!
//! `document/` is written by hand. `expand` adds what every operation has.

mod expand;
mod page;
mod parts;
#[cfg(test)]
mod tests;

use std::sync::LazyLock;

use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::http::internal::relayed::has_seen;

/// The description as it is served, and its `ETag`.
static SERVED: LazyLock<(Bytes, String)> = LazyLock::new(|| {
    let body = serde_json::to_vec(&*DOCUMENT).expect("JSON has a text form");
    let digest = BASE64_URL_SAFE_NO_PAD.encode(&Sha256::digest(&body)[..12]);
    (body.into(), format!("\"{digest}\""))
});

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| expand::document(parts::read()));

/// The whole description.
pub fn document() -> &'static Value {
    &DOCUMENT
}

/// The routes of the description and its page.
pub fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route("/openapi.json", get(show))
        .route("/docs", get(page::html))
        .route("/docs/reference.js", get(page::script))
        .route("/docs/reference.css", get(page::style))
}

async fn show(headers: HeaderMap) -> Response {
    let (body, etag) = &*SERVED;
    let fields = [
        (header::CONTENT_TYPE, "application/json"),
        (header::ETAG, etag),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    let is_known = http::HeaderValue::from_str(etag).is_ok_and(|etag| has_seen(&headers, &etag));
    if is_known {
        return (StatusCode::NOT_MODIFIED, fields).into_response();
    }
    (fields, body.clone()).into_response()
}
