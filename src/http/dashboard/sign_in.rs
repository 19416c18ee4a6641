//! Signs a browser in with an API key, and out.

use std::time::Duration;

use askama::Template;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse as _, Redirect, Response};
use http::{HeaderMap, StatusCode, header};
use url::form_urlencoded;

use super::page::{Frame, PageError, Tab, html};
use crate::http::internal::InternalState;
use crate::http::internal::access::Gate;
use crate::http::internal::access::request_log::Authorized;
use crate::http::internal::error::ApiError;
use crate::http::serve::body::read_body;

/// A key has less than 100 bytes, and an address with all filters a few hundred.
const BODY_BYTES_MAX: usize = 8 * 1024;
const BODY_TIME_MAX: Duration = Duration::from_secs(10);

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignInPage {
    frame: Frame,
    /// The page that was wanted.
    next: String,
    error: Option<&'static str>,
}

#[derive(Default)]
struct Form {
    key: String,
    next: String,
}

pub async fn show(
    State(gate): State<Gate>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let form = Form::parse(query.unwrap_or_default().as_bytes());
    if gate.identify(&headers).is_ok() {
        return Redirect::to(&local(&form.next)).into_response();
    }
    html(&SignInPage::new(&form.next, None))
}

pub async fn sign_in(
    State(gate): State<Gate>,
    State(state): State<InternalState>,
    body: Body,
) -> Result<Response, PageError> {
    let budget = &state.body_budget;
    let read = read_body(body, BODY_BYTES_MAX, BODY_TIME_MAX, budget, || Some(())).await;
    let (body, _share) = read.map_err(|error| ApiError::body(error, BODY_BYTES_MAX))?;
    let form = Form::parse(&body);
    let next = local(&form.next);
    if !gate.has_keys() {
        return Ok(Redirect::to(&next).into_response());
    }
    match gate.sign_in(form.key.trim()) {
        Ok(cookie) => {
            let mut response = Redirect::to(&next).into_response();
            response.headers_mut().insert(header::SET_COOKIE, cookie);
            response.extensions_mut().insert(Authorized);
            Ok(response)
        }
        Err(_) => {
            let error = "The receiver does not know this key. Look at internal.api_keys in its \
                configuration.";
            let page = SignInPage::new(&form.next, Some(error));
            Ok((StatusCode::UNAUTHORIZED, html(&page)).into_response())
        }
    }
}

pub async fn sign_out(State(gate): State<Gate>) -> Response {
    let mut response = Redirect::to("/sign-in").into_response();
    let cookie = gate.sign_out();
    response.headers_mut().insert(header::SET_COOKIE, cookie);
    response
}

impl SignInPage {
    fn new(next: &str, error: Option<&'static str>) -> Self {
        Self {
            frame: Frame::new("Sign in", Tab::None, None),
            next: local(next),
            error,
        }
    }
}

impl Form {
    fn parse(text: &[u8]) -> Self {
        let mut form = Self::default();
        for (name, value) in form_urlencoded::parse(text) {
            match name.as_ref() {
                "key" => form.key = value.into_owned(),
                "next" => form.next = value.into_owned(),
                _ => {}
            }
        }
        form
    }
}

/// Returns `next` if it is a page of ours, and otherwise the first page. A link to the sign-in must
/// not lead to another site: browsers take `//` and `/\` for the beginning of another host.
fn local(next: &str) -> String {
    let mut characters = next.chars();
    let begins = (characters.next(), characters.next());
    let is_local = begins.0 == Some('/') && !matches!(begins.1, Some('/' | '\\'));
    let is_plain = next.chars().all(|character| character.is_ascii_graphic());
    if is_local && is_plain {
        next.to_owned()
    } else {
        "/".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::local;

    #[test]
    fn the_sign_in_leads_to_no_other_site() {
        for page in ["/", "/tasks/x", "/?status=failed&cursor=1"] {
            assert_eq!(local(page), page);
        }
        for other in [
            "",
            "tasks",
            "https://evil.example",
            "//evil.example",
            "/\\evil.example",
            "/\t/evil.example",
            "/a\r\nset-cookie: x",
            "javascript:alert(1)",
        ] {
            assert_eq!(local(other), "/", "{other}");
        }
    }
}
