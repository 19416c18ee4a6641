//! What is sent: the task object, signed, to where the configuration or the app says.

use std::sync::Arc;

use http::header::CONTENT_TYPE;
use reqwest::RequestBuilder;

use super::Forwarder;
use crate::domain::delivery::AttemptEnd;
use crate::domain::signing::SigningSecrets;
use crate::store::StoreError;
use crate::store::deliveries::DueDelivery;
use crate::store::reads::TaskName;
use crate::task_object;

/// The names of Standard Webhooks.
const WEBHOOK_ID: &str = "webhook-id";
const WEBHOOK_TIMESTAMP: &str = "webhook-timestamp";
const WEBHOOK_SIGNATURE: &str = "webhook-signature";

/// Why there is nothing to send.
pub enum NoRequest {
    /// So the attempt ends.
    End(AttemptEnd),
    /// That is not the endpoint's fault, and no attempt.
    Store(StoreError),
}

impl Forwarder {
    pub(super) async fn request(&self, due: &DueDelivery) -> Result<RequestBuilder, NoRequest> {
        if self.disabled().contains(&due.endpoint) {
            return Err(AttemptEnd::Disabled.into());
        }
        let request = self.addressed(due)?;
        let secrets = self
            .secrets(due)
            .ok_or_else(|| not_now("no secret to sign with"))?;
        let body = self.body(due).await?;
        // The same in the feed, in the stream and in each attempt.
        let (id, now) = (due.event_id.to_string(), self.parts.clock.now());
        let signature = secrets.sign(&id, now, &body);
        Ok(request
            .header(CONTENT_TYPE, "application/json")
            .header(WEBHOOK_ID, id)
            .header(WEBHOOK_TIMESTAMP, now.as_seconds())
            .header(WEBHOOK_SIGNATURE, signature)
            .body(body))
    }

    fn addressed(&self, due: &DueDelivery) -> Result<RequestBuilder, AttemptEnd> {
        let (egress, endpoints) = (&self.parts.egress, &self.parts.endpoints);
        let request = match &due.url {
            Some(url) => egress.own(url),
            None => match endpoints.get(&due.endpoint) {
                Some(url) => egress.standing(url),
                None => return Err(not_now("no endpoint of this name is configured here")),
            },
        };
        request.map_err(|refusal| not_now(&format!("not called: {refusal}")))
    }

    fn secrets(&self, due: &DueDelivery) -> Option<Arc<SigningSecrets>> {
        match due.url {
            Some(_) => self.parts.signing_files.own(),
            None => self.parts.signing_files.of_endpoint(due.endpoint.as_str()),
        }
    }

    /// The task object, byte for byte as it is given to whoever asks for the task now.
    async fn body(&self, due: &DueDelivery) -> Result<String, NoRequest> {
        let name = TaskName::Submission(due.submission_id);
        let view = match self.parts.store.find_task(&name).await {
            Ok(view) => view.ok_or_else(|| refused("its task is no longer kept"))?,
            // The others need not wait for this one.
            Err(error @ StoreError::Corrupt { .. }) => {
                return Err(not_now(&format!("its task could not be read: {error}")).into());
            }
            Err(error) => return Err(NoRequest::Store(error)),
        };
        let body = serde_json::to_string(&task_object::of_view(&view));
        body.map_err(|_| refused("its task cannot be shown").into())
    }
}

impl From<AttemptEnd> for NoRequest {
    fn from(end: AttemptEnd) -> Self {
        Self::End(end)
    }
}

fn refused(reason: &str) -> AttemptEnd {
    let reason = reason.to_owned();
    AttemptEnd::Refused { reason }
}

/// By the configuration of this process. Another may have a newer one, and this one may have it soon: it is tried again.
fn not_now(reason: &str) -> AttemptEnd {
    AttemptEnd::Failed {
        status: None,
        reason: reason.to_owned(),
        retry_after: None,
    }
}
