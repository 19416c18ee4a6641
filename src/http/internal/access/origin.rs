//! Cross-site requests. A page that somebody opens in a browser can send requests to every address
//! that the browser reaches. It must not change anything here.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderMap, HeaderName, Method, header};
use url::Url;

use super::host::{self, Authority};
use crate::http::internal::error::ApiError;

static SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// How apps and browsers reach the listener, if the configuration says so. A proxy may give its
/// requests another `Host`.
#[derive(Clone, Debug)]
pub struct OwnOrigin(Option<Arc<Authority>>);

impl OwnOrigin {
    /// `base_url` is how apps reach the listener.
    pub fn new(base_url: Option<&Url>) -> Self {
        let authority = base_url.and_then(|url| authority_of(url.as_str()));
        Self(authority.map(Arc::new))
    }
}

/// Answers 403 to a request that changes something and that a page of another origin sent.
///
/// A browser says so in `Origin` (RFC 6454) or in `Sec-Fetch-Site` (W3C Fetch Metadata). Other
/// clients send neither.
pub async fn refuse_cross_site(
    State(own): State<OwnOrigin>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    if !is_safe(request.method())
        && (is_from_another_site(&request) || is_of_another_origin(&request, &own))
    {
        return Err(ApiError::cross_site());
    }
    Ok(next.run(request).await)
}

/// Whether requests of this method change nothing.
pub const fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// Whether the request says from which page or site it comes. Every browser of today says so when
/// a request changes something.
pub fn is_named(headers: &HeaderMap) -> bool {
    headers.contains_key(header::ORIGIN) || headers.contains_key(&SEC_FETCH_SITE)
}

fn is_from_another_site(request: &Request) -> bool {
    let sites = request.headers().get_all(&SEC_FETCH_SITE);
    sites
        .iter()
        .any(|site| !matches!(site.as_bytes(), b"same-origin" | b"none"))
}

fn is_of_another_origin(request: &Request, own: &OwnOrigin) -> bool {
    let mut origins = request.headers().get_all(header::ORIGIN).iter().peekable();
    if origins.peek().is_none() {
        return false;
    }
    let mut ours = host::targets(request).unwrap_or_default();
    ours.extend(own.0.as_deref().cloned());
    // `null` is no URL: it stands for a page whose origin the browser hides.
    let is_ours = |origin: &http::HeaderValue| {
        let origin = origin.to_str().ok().and_then(authority_of);
        origin.is_some_and(|origin| ours.iter().any(|our| our.is_same_server(&origin)))
    };
    !origins.all(is_ours)
}

fn authority_of(url: &str) -> Option<Authority> {
    let (scheme, rest) = url.split_once("://")?;
    let rest = rest.split('/').next().unwrap_or_default();
    matches!(scheme, "http" | "https")
        .then(|| Authority::parse(rest))
        .flatten()
}
