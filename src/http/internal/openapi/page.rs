//! The page that shows the description. It loads nothing from elsewhere.

use axum::response::IntoResponse;
use http::{HeaderName, HeaderValue, header};

/// Only our own script and style sheet run, and no other page can frame this one.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; \
     form-action 'none'; frame-ancestors 'none'",
);

pub async fn html() -> impl IntoResponse {
    (
        headers("text/html; charset=utf-8"),
        include_str!("page/reference.html"),
    )
}

pub async fn script() -> impl IntoResponse {
    (
        headers("text/javascript; charset=utf-8"),
        include_str!("page/reference.js"),
    )
}

pub async fn style() -> impl IntoResponse {
    (
        headers("text/css; charset=utf-8"),
        include_str!("page/reference.css"),
    )
}

fn headers(content_type: &'static str) -> [(HeaderName, HeaderValue); 5] {
    [
        (header::CONTENT_TYPE, HeaderValue::from_static(content_type)),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        ),
        (
            header::REFERRER_POLICY,
            HeaderValue::from_static("no-referrer"),
        ),
        // After an update, the page and its script belong together.
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ]
}
