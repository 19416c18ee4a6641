//! Whether the process lives, whether it can take work, and what it has counted.

use std::time::Duration;

use axum::Json;
use axum::extract::{RawQuery, State};
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::internal::InternalState;
use super::readiness;

/// A scrape is given 10 s by default; the last known number will do.
const TOTAL_TIMEOUT: Duration = Duration::from_secs(1);

const OPENMETRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

pub async fn live() -> Json<Value> {
    Json(json!({"status": "live"}))
}

/// Answers 503 as soon as callbacks would not be recorded. `?verbose` adds the state of each part.
pub async fn ready(
    State(state): State<InternalState>,
    RawQuery(query): RawQuery,
) -> (StatusCode, Json<Value>) {
    let (trouble, details) = if is_verbose(query.as_deref()) {
        let (trouble, details) = readiness::details(&state).await;
        (trouble, Some(details))
    } else {
        (readiness::trouble(&state).await, None)
    };
    let (status, mut body) = match trouble {
        None => (StatusCode::OK, json!({"status": "ready"})),
        Some(reason) => (
            StatusCode::SERVICE_UNAVAILABLE,
            json!({"status": "not ready", "reason": reason}),
        ),
    };
    if let Some(details) = details {
        body["details"] = json!(details);
    }
    (status, Json(body))
}

fn is_verbose(query: Option<&str>) -> bool {
    let mut parameters = query.unwrap_or_default().split('&');
    parameters.any(|parameter| parameter == "verbose" || parameter.starts_with("verbose="))
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
