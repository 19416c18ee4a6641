//! Whether the process lives, whether it can take work, and what it has counted.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::internal::InternalState;

/// A scrape is given 10 s by default; the last known number will do.
const TOTAL_TIMEOUT: Duration = Duration::from_secs(1);

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
    // Other replicas add to it too. A store that does not answer must not keep the counters from being seen.
    let total = timeout(TOTAL_TIMEOUT, state.store.quarantine_total()).await;
    if let Ok(Ok(total)) = total {
        state.metrics.quarantine_holds(total.entries, total.bytes);
    }
    let is_key_rejected = state.evolink.health().is_key_rejected();
    state.metrics.evolink_key_rejected(is_key_rejected);
    (
        [(header::CONTENT_TYPE, OPENMETRICS)],
        state.metrics.render(),
    )
}
