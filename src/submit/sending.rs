//! Sends a submit to EvoLink and records the reply. If no connection could be made, nothing was
//! sent, and it is retried for a short while. Nothing else is ever retried, because EvoLink may
//! have accepted and charged the submit.

use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use serde_json::json;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use super::outcome::{KeyRejection, Outcome};
use super::{Running, recording};
use crate::domain::callback::Subject;
use crate::domain::ids::SubmissionId;
use crate::domain::observation::{Observation, Source};
use crate::evolink::{Answer, SubmitReply};
use crate::pauses::growing_until;
use crate::store::read::TaskName;
use crate::store::recorder::calls::{EndOfSubmit, Observed};
use crate::store::recorder::entry::SubmitEnded;

/// How long to retry while no connection can be made.
const RETRY_FOR: Duration = Duration::from_secs(4);

const PAUSE_MIN: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(1);

impl Running<'_> {
    /// Sends the submit, whose intent is recorded.
    pub(super) async fn send(&self) -> Outcome {
        let public = &self.submits.public;
        let callback_url = public.has_callbacks().then(|| {
            let token = (self.submits.key_ring).mint(&Subject::Submission(self.id));
            public.callback_url(&token)
        });
        let body = (self.submission.generation).to_evolink(callback_url.as_deref());
        let sending = self.send_until_connected(body);
        let Some(reply) = self.submits.giving_up.run_until_cancelled(sending).await else {
            let reason = "EvoLink has not answered, and this process is stopping";
            return self.unknown(reason, Bytes::new()).await;
        };
        match reply {
            SubmitReply::Accepted(seen) => self.accepted(seen).await,
            SubmitReply::Refused(answer) => self.refused(answer).await,
            SubmitReply::Unreachable { reason } => {
                warn!(submission.id = %self.id, reason, "could not connect to EvoLink; nothing was sent");
                self.record_refusal(None).await;
                Outcome::Unreachable(self.id)
            }
            SubmitReply::Unknown { reason, body, .. } => self.unknown(&reason, body).await,
        }
    }

    async fn send_until_connected(&self, body: Bytes) -> SubmitReply {
        let (submits, kind) = (self.submits, self.submission.generation.kind);
        let deadline = Instant::now() + RETRY_FOR.min(submits.evolink_timeout);
        let mut pauses = growing_until(deadline, PAUSE_MIN, PAUSE_MAX);
        loop {
            let reply = submits.evolink.submit(kind, body.clone(), self.id).await;
            let SubmitReply::Unreachable { reason } = &reply else {
                return reply;
            };
            let Some(pause) = pauses.next() else {
                return reply;
            };
            let pausing = self.disconnected.run_until_cancelled(sleep(pause));
            let is_over = submits.stopping.run_until_cancelled(pausing).await;
            if is_over.flatten().is_none() {
                return reply;
            }
            info!(submission.id = %self.id, reason, "could not connect to EvoLink; nothing was sent, and it is tried again");
            submits.metrics.submit_retried();
        }
    }

    async fn accepted(&self, seen: Observation) -> Outcome {
        let (id, task_id) = (self.id, seen.task_id.clone());
        let recorder = self.submits.recorder.clone();
        let recording = recording::record(self.submits, id, Some(&task_id), move || {
            let (recorder, seen) = (recorder.clone(), seen.clone());
            let subject = Subject::Submission(id);
            async move {
                recorder
                    .observe(subject, seen, Source::Submit, HeaderMap::new())
                    .await
            }
        });
        match recording.await {
            Ok(Observed::Applied(_)) => {
                info!(submission.id = %id, task.id = %task_id, "EvoLink accepted the submit");
                self.current_task().await
            }
            Ok(Observed::Mismatch) => {
                // The answer is in quarantine, and the submit was recorded as unknown with it.
                warn!(submission.id = %id, task.id = %task_id, "EvoLink's answer to the submit names another submission's task");
                self.unknown_to_app()
            }
            // The outcome is unknown to the app. The recording continues in the background.
            Err(_) => self.unknown_to_app(),
        }
    }

    async fn refused(&self, answer: Answer) -> Outcome {
        let (id, status) = (self.id, answer.status);
        info!(submission.id = %id, status, "EvoLink refused the submit ({status})");
        let rejection = answer.is_about_key().then(|| KeyRejection {
            is_by_evolink: answer.is_in_envelope(),
            key_source: self.submits.evolink.health().key_source(),
        });
        // The app's record must not say either that the app's own key is wrong.
        let shown =
            rejection.map_or_else(|| answer.body.clone(), |rejection| record_of(rejection, id));
        if self.record_refusal(Some(shown)).await == Some(EndOfSubmit::WasAccepted) {
            warn!(submission.id = %id, status, "EvoLink refused the submit ({status}), but a callback for its task was recorded; the task is the answer");
            return self.current_task().await;
        }
        match rejection {
            Some(rejection) => Outcome::KeyRejected {
                rejection,
                submission_id: id,
            },
            None => Outcome::Refused {
                answer: Box::new(answer),
                submission_id: id,
            },
        }
    }

    /// Records that EvoLink accepted nothing. Returns `None` if this is not recorded yet.
    async fn record_refusal(&self, answer: Option<Bytes>) -> Option<EndOfSubmit> {
        self.record_end(self.refusal(answer)).await
    }

    async fn record_end(&self, ended: SubmitEnded) -> Option<EndOfSubmit> {
        let (recorder, id) = (self.submits.recorder.clone(), self.id);
        let recording = recording::record(self.submits, id, None, move || {
            let (recorder, ended) = (recorder.clone(), ended.clone());
            async move { recorder.end_submit(id, ended).await }
        });
        recording.await.ok()
    }

    /// Returns the task of a submit that EvoLink has certainly accepted.
    async fn current_task(&self) -> Outcome {
        let name = TaskName::Submission(self.id);
        match self.submits.store.find_task(&name).await {
            Ok(Some(view)) => {
                Outcome::accepted(self.id, self.submits.task_objects.of_view(&view), None)
            }
            Ok(None) => self.unknown_to_app(),
            Err(error) => {
                warn!(submission.id = %self.id, error = %error, "could not read the task that EvoLink accepted; the app is answered that the outcome is unknown");
                self.unknown_to_app()
            }
        }
    }

    /// Records that the outcome is unknown, together with EvoLink's answer if there was one: a
    /// person may understand an answer that this program does not.
    async fn unknown(&self, reason: &str, answer: Bytes) -> Outcome {
        let id = self.id;
        warn!(submission.id = %id, reason, "whether EvoLink accepted the submit is unknown; it is not sent again");
        // The app gets the same answer whether or not this is recorded yet.
        if answer.is_empty() {
            let _ = self.record_end(SubmitEnded::Unknown).await;
        } else {
            let (recorder, reason) = (self.submits.recorder.clone(), reason.to_owned());
            let recording = recording::record(self.submits, id, None, move || {
                let (recorder, body, reason) = (recorder.clone(), answer.clone(), reason.clone());
                let (subject, headers) = (Subject::Submission(id), HeaderMap::new());
                async move {
                    let source = Source::Submit;
                    recorder
                        .keep_in_quarantine(subject, source, body, reason, headers)
                        .await
                }
            });
            let _ = recording.await;
        }
        self.unknown_to_app()
    }

    const fn unknown_to_app(&self) -> Outcome {
        Outcome::Unknown {
            submission_id: self.id,
            earlier: None,
        }
    }
}

/// The answer that is kept of a submit that was refused because of the receiver's key.
fn record_of(rejection: KeyRejection, id: SubmissionId) -> Bytes {
    let (code, message) = (KeyRejection::CODE, rejection.message());
    let body = json!({"error": {
        "code": code, "message": message, "type": "api_error", "submission_id": id.to_string(),
    }});
    body.to_string().into()
}
