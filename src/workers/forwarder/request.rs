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

impl Forwarder {
    /// # Errors
    /// How the attempt ends without one.
    pub(super) async fn request(&self, due: &DueDelivery) -> Result<RequestBuilder, AttemptEnd> {
        if self.disabled().contains(&due.endpoint) {
            return Err(AttemptEnd::Disabled);
        }
        let request = self.addressed(due)?;
        let secrets = self
            .secrets(due)
            .ok_or_else(|| refused("no secret to sign with"))?;
        let body = self.body(due).await?;
        // Its number in the log: the same in feed, stream and each attempt.
        let (id, now) = (due.event_seq.to_string(), self.parts.clock.now());
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
                None => return Err(refused("no endpoint of this name is configured any more")),
            },
        };
        request.map_err(|refusal| refused(&refusal.to_string()))
    }

    fn secrets(&self, due: &DueDelivery) -> Option<Arc<SigningSecrets>> {
        match due.url {
            Some(_) => self.parts.signing_files.own(),
            None => self.parts.signing_files.of_endpoint(due.endpoint.as_str()),
        }
    }

    /// The task object, byte for byte as it is given to whoever asks for the task now.
    async fn body(&self, due: &DueDelivery) -> Result<String, AttemptEnd> {
        let name = TaskName::Submission(due.submission_id);
        let view = self
            .parts
            .store
            .find_task(&name)
            .await
            .map_err(|error| not_read(&error))?;
        let view = view.ok_or_else(|| refused("its task is no longer kept"))?;
        serde_json::to_string(&task_object::of_view(&view))
            .map_err(|_| refused("its task cannot be shown"))
    }
}

fn refused(reason: &str) -> AttemptEnd {
    let reason = reason.to_owned();
    AttemptEnd::Refused { reason }
}

/// It may be read the next time.
fn not_read(error: &StoreError) -> AttemptEnd {
    AttemptEnd::Failed {
        status: None,
        reason: format!("its task could not be read: {error}"),
        retry_after: None,
    }
}
