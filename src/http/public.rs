//! What EvoLink reaches: one route. Everything else on the public listener is the same constant 404.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::post;
use http::StatusCode;

use super::body::BodyBudget;
use super::callbacks;
use super::unfinished::UnfinishedCallbacks;
use crate::clock::Clock;
use crate::domain::callback_token::KeyRing;
use crate::evolink::EvolinkKey;
use crate::metrics::Metrics;
use crate::store::recorder::Recorder;

/// What the handling of a callback needs. There is no way from here to a read of the store.
#[derive(Debug)]
pub struct PublicState {
    pub recorder: Recorder,
    pub key_ring: Arc<KeyRing>,
    /// Redacted in what a callback brings.
    pub evolink_key: EvolinkKey,
    /// How long a submission's token is good for: as long as its record is kept.
    pub token_lifetime: Duration,
    pub clock: Clock,
    pub metrics: Metrics,
    pub body_bytes_max: usize,
    pub body_timeout: Duration,
    pub body_budget: BodyBudget,
    pub unfinished: UnfinishedCallbacks,
    /// From the head of the request to our answer: EvoLink hangs up at 10 s.
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
        // One count goes up and down for a request, not one for each part of it.
        .with_state(Arc::new(state))
}

/// Says nothing: neither what is here, nor why it is not.
pub(super) async fn not_found() -> StatusCode {
    StatusCode::NOT_FOUND
}
