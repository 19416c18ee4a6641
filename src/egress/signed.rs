//! The headers of Standard Webhooks on a request.

use http::header::CONTENT_TYPE;
use reqwest::RequestBuilder;

use crate::domain::delivery::signing::SigningSecrets;
use crate::domain::timestamp::Timestamp;

const WEBHOOK_ID: &str = "webhook-id";
const WEBHOOK_TIMESTAMP: &str = "webhook-timestamp";
const WEBHOOK_SIGNATURE: &str = "webhook-signature";

/// Adds `body` and its signature. `now` is the system's time: the endpoint compares it with its own
/// clock.
pub fn signed(
    request: RequestBuilder,
    secrets: &SigningSecrets,
    id: String,
    now: Timestamp,
    body: String,
) -> RequestBuilder {
    let signature = secrets.sign(&id, now, &body);
    request
        .header(CONTENT_TYPE, "application/json")
        .header(WEBHOOK_ID, id)
        .header(WEBHOOK_TIMESTAMP, now.as_seconds())
        .header(WEBHOOK_SIGNATURE, signature)
        .body(body)
}
