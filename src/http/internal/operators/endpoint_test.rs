//! A signed test event, sent to an endpoint of the configuration at once. No row is written, and no
//! delivery waits for it.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use serde::Serialize;
use serde_json::json;
use tokio::time::Instant;
use tracing::info;
use url::Url;

use crate::domain::delivery::EndpointKey;
use crate::domain::timestamp::Timestamp;
use crate::egress::{Egress, EndpointUrls, NoAnswer, signed};
use crate::http::internal::InternalState;
use crate::http::internal::error::ApiError;
use crate::secrets::signing_files::SigningFiles;

/// The endpoints of the configuration, and what calls them.
#[derive(Clone, Debug)]
pub struct Endpoints {
    /// Also judges which addresses an app may have its outcome sent to.
    pub egress: Egress,
    pub signing_files: Arc<SigningFiles>,
    pub urls: EndpointUrls,
}

/// How the endpoint answered.
#[derive(Debug, Serialize)]
pub struct Tested {
    endpoint: String,
    /// The `webhook-id`.
    id: String,
    /// The status of the answer; `null` if there was none.
    status: Option<u16>,
    /// Why there was no answer.
    error: Option<String>,
    took_ms: u64,
}

pub async fn test(
    State(state): State<InternalState>,
    name: Result<Path<String>, PathRejection>,
) -> Result<Json<Tested>, ApiError> {
    let name = name.map_or_else(|_| String::new(), |Path(name)| name);
    let key = EndpointKey::parse(&name);
    let tests = &state.endpoints;
    let url = tests.urls.get(&key);
    let url = url.ok_or_else(|| ApiError::endpoint_not_found(&name))?;
    // Each test is an event of its own to an endpoint that ignores repeats.
    let id = format!("test-{:016x}", fastrand::u64(..));
    let now = state.clock.wall_now();
    let begun = Instant::now();
    let sent = send(tests, &key, &url, &id, now).await;
    let took = begun.elapsed();
    let (status, error) = match sent {
        Ok(status) => (Some(status), None),
        Err(why) => (None, Some(why)),
    };
    info!(endpoint = %key, status, error, "tested an endpoint");
    Ok(Json(Tested {
        endpoint: name,
        id,
        status,
        error,
        took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
    }))
}

/// Returns the status of the answer, or why there was none.
async fn send(
    tests: &Endpoints,
    key: &EndpointKey,
    url: &Url,
    id: &str,
    now: Timestamp,
) -> Result<u16, String> {
    let request = tests.egress.standing(url);
    let request = request.map_err(|refusal| format!("not called: {refusal}"))?;
    let secrets = tests.signing_files.of_endpoint(key.as_str());
    let secrets = secrets.ok_or_else(|| "no secret to sign with".to_owned())?;
    // It has no `status`, so that no endpoint takes it for the outcome of a task.
    let body = json!({
        "id": id,
        "object": "receiver.test",
        "type": "receiver.test",
        "created": now.as_seconds(),
        "message": "A test of this endpoint. It is about no task.",
    });
    let request = signed(request, &secrets, id.to_owned(), now, body.to_string());
    let answer = request.send().await;
    let answer = answer.map_err(|error| NoAnswer::from(error).to_string())?;
    Ok(answer.status().as_u16())
}
