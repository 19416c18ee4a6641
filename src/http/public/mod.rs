//! The public listener: one route, which EvoLink calls. Everything else gets the same constant 404.

mod answers;
mod callbacks;
mod extract;
mod state;
pub mod unfinished;

use std::sync::Arc;

use axum::Router;
use axum::routing::post;
use http::StatusCode;

pub use state::PublicState;

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
async fn not_found() -> StatusCode {
    StatusCode::NOT_FOUND
}
