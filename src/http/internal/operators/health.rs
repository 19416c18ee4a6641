//! Liveness, readiness and metrics.

use std::time::Duration;

use axum::Json;
use axum::extract::{RawQuery, State};
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::readiness;
use crate::http::internal::InternalState;

/// Time for reading the size of the quarantine. A scrape has 10 s by default; after this timeout
/// the last known size is reported.
const TOTAL_TIMEOUT: Duration = Duration::from_secs(1);

const OPENMETRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

pub async fn live() -> Json<Value> {
    Json(json!({"status": "live"}))
}

/// Answers 503 if callbacks would not be recorded. `?verbose` adds the state of each component.
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
    // Read the size from the store, because other replicas add to the quarantine too. If the store
    // does not answer, the other metrics must still be reported.
    let total = timeout(TOTAL_TIMEOUT, state.store.quarantine_total());
    let (total, ()) = tokio::join!(total, measure_archive(&state));
    if let Ok(Ok(total)) = total {
        state.metrics.quarantine_holds(total.entries, total.bytes);
    }
    let is_key_rejected = state.evolink.health().is_key_rejected();
    state.metrics.evolink_key_rejected(is_key_rejected);
    if let Some(at) = state.readiness.certificate_expiry() {
        state.metrics.certificate_expires_at(at);
    }
    (
        [(header::CONTENT_TYPE, OPENMETRICS)],
        state.metrics.render(),
    )
}

async fn measure_archive(state: &InternalState) {
    if let Some(archive) = &state.archive
        && let Ok(Ok(Some(free))) = timeout(TOTAL_TIMEOUT, archive.storage.bytes_free()).await
    {
        state.metrics.archive_free_bytes(free);
    }
}
