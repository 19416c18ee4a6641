//! The request of one attempt: the signed task object, addressed to the endpoint of the
//! configuration or to the app's own address.

use std::sync::Arc;

use reqwest::RequestBuilder;

use super::Forwarder;
use super::answer::{self, EndpointOutcome};
use crate::domain::delivery::AttemptEnd;
use crate::domain::delivery::signing::SigningSecrets;
use crate::egress::signed;
use crate::store::StoreError;
use crate::store::deliveries::DueDelivery;
use crate::store::read::TaskName;

/// The reason why there is nothing to send.
pub enum NoRequest {
    /// The outcome of the attempt, and what it says about the endpoint.
    End(AttemptEnd, Option<EndpointOutcome>),
    /// The store failed. No attempt is counted.
    Store(StoreError),
}

impl Forwarder {
    pub(super) async fn request(&self, due: &DueDelivery) -> Result<RequestBuilder, NoRequest> {
        if self.disabled().contains(&due.endpoint) {
            return Err(NoRequest::End(AttemptEnd::GivenBack, None));
        }
        let request = self.addressed(due)?;
        let secrets = self
            .secrets(due)
            .ok_or_else(|| not_now("no secret to sign with"))?;
        let body = self.body(due).await?;
        // The id is the same in the feed, in the stream and in each attempt.
        let id = due.event_id.to_string();
        let now = self.dependencies.clock.wall_now();
        Ok(signed(request, &secrets, id, now, body))
    }

    fn addressed(&self, due: &DueDelivery) -> Result<RequestBuilder, AttemptEnd> {
        let (egress, endpoints) = (&self.dependencies.egress, &self.dependencies.endpoints);
        let request = match &due.url {
            Some(url) => egress.own(url),
            None => match endpoints.get(&due.endpoint) {
                Some(url) => egress.standing(&url),
                None => return Err(not_now("no endpoint of this name is configured here")),
            },
        };
        request.map_err(|refusal| not_now(&format!("not called: {refusal}")))
    }

    fn secrets(&self, due: &DueDelivery) -> Option<Arc<SigningSecrets>> {
        match due.url {
            Some(_) => self.dependencies.signing_files.own(),
            None => self
                .dependencies
                .signing_files
                .of_endpoint(due.endpoint.as_str()),
        }
    }

    /// The task object, byte for byte as `GET /v1/tasks/{id}` returns it now to a reader.
    async fn body(&self, due: &DueDelivery) -> Result<String, NoRequest> {
        let name = TaskName::Submission(due.submission_id);
        let view = match self.dependencies.store.find_task(&name).await {
            Ok(view) => view.ok_or_else(|| refused("its task is no longer kept"))?,
            // A damaged task is not the endpoint's fault, and must not delay other deliveries.
            Err(error @ StoreError::Corrupt { .. }) => {
                let end = not_now(&format!("its task could not be read: {error}"));
                return Err(NoRequest::End(end, None));
            }
            Err(error) => return Err(NoRequest::Store(error)),
        };
        let body = serde_json::to_string(&self.dependencies.task_objects.of_view(&view));
        body.map_err(|_| refused("its task cannot be shown").into())
    }
}

/// Nothing was sent because of the configuration for this endpoint, so its other deliveries would
/// fail too.
impl From<AttemptEnd> for NoRequest {
    fn from(end: AttemptEnd) -> Self {
        let outcome = answer::outcome(&end, true);
        Self::End(end, outcome)
    }
}

fn refused(reason: &str) -> AttemptEnd {
    let reason = reason.to_owned();
    AttemptEnd::Refused { reason }
}

/// A failure because of this process's configuration. Another process may have a newer one, and
/// this one may be reloaded soon. So the delivery is tried again.
fn not_now(reason: &str) -> AttemptEnd {
    AttemptEnd::Failed {
        status: None,
        reason: reason.to_owned(),
        retry_after: None,
    }
}
