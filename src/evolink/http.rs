//! How requests to EvoLink are made, and what their errors say.

use std::error::Error as _;
use std::time::Duration;

use anyhow::Context as _;
use reqwest::header::{ACCEPT_ENCODING, CONTENT_ENCODING, HeaderMap, HeaderValue};
use reqwest::{Client, ClientBuilder, redirect, retry};
use secrecy::{ExposeSecret as _, SecretString};

use crate::domain::egress::ANSWER_HEADER_LINES_MAX;

/// The maximum time for connecting, which is also at most half of the whole timeout. So a slow
/// connection can be distinguished from a slow answer: in the first case, nothing was sent.
const CONNECT_TIMEOUT_MAX: Duration = Duration::from_secs(10);

pub fn bearer(api_key: &SecretString) -> anyhow::Result<HeaderValue> {
    // The error for an invalid header value does not contain the value.
    let mut bearer = HeaderValue::from_str(&format!("Bearer {}", api_key.expose_secret()))
        .context("EvoLink's API key cannot be sent in a header")?;
    bearer.set_sensitive(true);
    Ok(bearer)
}

pub fn client_builder(timeout: Duration, user_agent: &str) -> ClientBuilder {
    let identity = HeaderValue::from_static("identity");
    Client::builder()
        .user_agent(user_agent)
        .default_headers(HeaderMap::from_iter([(ACCEPT_ENCODING, identity)]))
        .timeout(timeout)
        .connect_timeout(CONNECT_TIMEOUT_MAX.min(timeout / 2))
        .redirect(redirect::Policy::none())
        .retry(retry::never())
        .referer(false)
        .no_proxy()
        .http1_only()
        .http1_max_headers(ANSWER_HEADER_LINES_MAX)
}

pub fn is_encoded(headers: &HeaderMap) -> bool {
    let mut encodings = headers.get_all(CONTENT_ENCODING).iter();
    encodings.any(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity"))
}

/// Formats the causes of `error` in one line, the outermost first. At most eight causes are
/// followed.
pub fn causes(error: &reqwest::Error) -> String {
    let mut texts = Vec::new();
    let mut cause = error.source();
    while let Some(error) = cause.filter(|_| texts.len() < 8) {
        texts.push(error.to_string());
        cause = error.source();
    }
    if texts.is_empty() {
        error.to_string()
    } else {
        texts.join(": ")
    }
}
