//! The public listener: one route, which EvoLink calls. Everything else gets the same constant 404.

pub mod callbacks;
pub mod extract;
pub mod unfinished;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::post;
use http::StatusCode;

use crate::http::serve::body::BodyBudget;

use crate::clock::Clock;
use crate::domain::callback::KeyRing;
use crate::evolink::EvolinkKey;
use crate::observe::metrics::Metrics;
use crate::store::recorder::Recorder;
use unfinished::UnfinishedCallbacks;

/// State of the callback handler. It gives no access to reads of the store.
#[derive(Debug)]
pub struct PublicState {
    pub recorder: Recorder,
    pub key_ring: Arc<KeyRing>,
    /// Redacted in what a callback brings.
    pub evolink_key: EvolinkKey,
    /// Lifetime of a submission's token: as long as its record is kept.
    pub token_lifetime: Duration,
    pub clock: Clock,
    pub metrics: Metrics,
    pub body_bytes_max: usize,
    pub body_timeout: Duration,
    pub body_budget: BodyBudget,
    pub unfinished: UnfinishedCallbacks,
    /// Time from the head of the request to our answer. EvoLink disconnects after 10 s.
    pub request_timeout: Duration,
}

/// `callback_path` is the path of `public.base_url`, then `/callbacks/`.
pub fn router(callback_path: &str, state: PublicState) -> Router {
    Router::new()
        .route(
            &format!("{callback_path}{{token}}"),
            post(callbacks::receive),
        )
        .fallback(not_found)
        // One `Arc` for all fields, so that a request changes one reference count and not one per
        // field.
        .with_state(Arc::new(state))
}

/// Answers 404 without a body. It reveals neither what exists nor why a request was refused.
pub(super) async fn not_found() -> StatusCode {
    StatusCode::NOT_FOUND
}
