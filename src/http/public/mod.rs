//! The public listener: one route, which EvoLink calls. Everything else gets the same constant 404.

mod answers;
mod callbacks;
mod extract;
mod state;
pub mod unfinished;

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::post;
use http::StatusCode;

pub use state::PublicState;

use crate::observe::callback_path::CallbackRefusal;
use crate::observe::metrics::Metrics;

/// The route in the metrics, whatever path `public.base_url` has.
const ROUTE: &str = "/callbacks/{token}";

/// `callback_path` is the path of `public.base_url`, then `/callbacks/`.
pub fn router(callback_path: &str, state: PublicState) -> Router {
    let timing = from_fn_with_state(state.metrics.clone(), time);
    Router::new()
        .route(
            &format!("{callback_path}{{token}}"),
            post(callbacks::receive).route_layer(timing),
        )
        .fallback(not_found)
        .method_not_allowed_fallback(wrong_method)
        // One `Arc` for all fields, so that a request changes one reference count and not one per
        // field.
        .with_state(Arc::new(state))
}

/// Measures how long callbacks take, also those that are refused for their token.
async fn time(State(metrics): State<Metrics>, request: Request, next: Next) -> Response {
    let (method, begun) = (request.method().clone(), Instant::now());
    let response = next.run(request).await;
    metrics.request_ended(&method, ROUTE, response.status(), begun.elapsed());
    response
}

/// Answers 404 without a body. It reveals neither what exists nor why a request was refused.
async fn not_found(State(state): State<Arc<PublicState>>, request: Request) -> StatusCode {
    let peer = extract::peer(&request);
    state
        .callback_path
        .refused(CallbackRefusal::WrongPath, peer);
    StatusCode::NOT_FOUND
}

/// Answers 405 without a body; axum adds `Allow`.
async fn wrong_method(State(state): State<Arc<PublicState>>, request: Request) -> StatusCode {
    let peer = extract::peer(&request);
    state
        .callback_path
        .refused(CallbackRefusal::WrongMethod, peer);
    StatusCode::METHOD_NOT_ALLOWED
}
