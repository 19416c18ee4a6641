//! The dashboard: pages for people on the internal listener. They are rendered on the server, and
//! our own JavaScript keeps them current by the same event stream that apps read.
//!
//! No page needs anything from elsewhere: styles, scripts and the library for plots are in the
//! program. The content security policy forbids the browser to load or run anything else, so even a
//! prompt that broke out of a template could run nothing.

mod assets;
mod health;
mod page;
mod sign_in;
mod task;
mod tasks;
mod text;
mod trouble;
mod try_out;

use axum::Router;
use axum::extract::{FromRef, Request};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::Response;
use axum::routing::{get, post};
use http::{HeaderName, HeaderValue, header};

use super::internal::InternalState;
use super::internal::access::Gate;

/// What a page may load, run, send and be framed by. Scripts and styles are files of this origin;
/// there are none inside a page. Scripts may insert markup only through one policy of our own.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self'; media-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; \
    frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types fragments";

/// The headers of all answers here, unless the handler has set them. The policy on the referrer is
/// not stricter, because browsers would then hide the origin of our own forms from us.
const HEADERS: [(HeaderName, HeaderValue); 5] = [
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(CONTENT_SECURITY_POLICY),
    ),
    (
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    ),
    (
        header::REFERRER_POLICY,
        HeaderValue::from_static("same-origin"),
    ),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        HeaderValue::from_static("same-origin"),
    ),
];

/// What the pages read. They change nothing: their buttons send requests to the API.
#[derive(Clone, Debug)]
pub struct Dashboard {
    internal: InternalState,
    gate: Gate,
}

impl FromRef<Dashboard> for InternalState {
    fn from_ref(dashboard: &Dashboard) -> Self {
        dashboard.internal.clone()
    }
}

impl FromRef<Dashboard> for Gate {
    fn from_ref(dashboard: &Dashboard) -> Self {
        dashboard.gate.clone()
    }
}

pub fn router(state: &InternalState, gate: &Gate) -> Router {
    let pages: Router<Dashboard> = Router::new()
        .route("/", get(tasks::show))
        .route("/tasks/{id}", get(task::show))
        .route("/tasks/{id}/files/{n}", get(task::file))
        .route("/health", get(health::show))
        .route("/trouble", get(trouble::show))
        .route("/try", get(try_out::show));
    // What the scripts of the pages read.
    let fragments: Router<Dashboard> = Router::new()
        .route("/fragments/tasks", get(tasks::fragment))
        .route("/fragments/tasks/{id}", get(task::fragment))
        .route("/fragments/health", get(health::fragment))
        .route("/fragments/health/minutes", get(health::minutes))
        .route("/fragments/trouble", get(trouble::fragment))
        .route("/fragments/service", get(health::service));
    let pages = pages.route_layer(from_fn_with_state(gate.clone(), page::require_page));
    let fragments = fragments.route_layer(from_fn_with_state(gate.clone(), page::require));
    Router::new()
        .merge(pages)
        .merge(fragments)
        .route("/sign-in", get(sign_in::show).post(sign_in::sign_in))
        .route("/sign-out", post(sign_in::sign_out))
        .route("/assets/{version}/{name}", get(assets::show))
        .with_state(Dashboard {
            internal: state.clone(),
            gate: gate.clone(),
        })
        .layer(from_fn(protect))
}

async fn protect(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    for (name, value) in HEADERS {
        response.headers_mut().entry(name).or_insert(value);
    }
    response
}
