//! Whether the process lives, whether it can take work, and what it has counted.

use axum::Json;
use axum::extract::State;
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use super::internal::InternalState;

const OPENMETRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

pub async fn live() -> Json<Value> {
    Json(json!({"status": "live"}))
}

/// 503 as soon as callbacks would not be recorded: whoever balances load looks here.
pub async fn ready(State(state): State<InternalState>) -> (StatusCode, Json<Value>) {
    let trouble = if state.stopping.is_cancelled() {
        Some("stopping")
    } else if state.recorder.failed().is_cancelled() {
        Some("the disk failed")
    } else if state.store.ping().await.is_err() {
        Some("the store does not answer")
    } else {
        None
    };
    match trouble {
        None => (StatusCode::OK, Json(json!({"status": "ready"}))),
        Some(reason) => (
            StatusCode::SERVICE_UNAVAILABLE,
            Json(json!({"status": "not ready", "reason": reason})),
        ),
    }
}

pub async fn metrics(
    State(state): State<InternalState>,
) -> ([(HeaderName, HeaderValue); 1], String) {
    (
        [(header::CONTENT_TYPE, OPENMETRICS)],
        state.metrics.render(),
    )
}
