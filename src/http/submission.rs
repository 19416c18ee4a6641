//! One submit, from the intent to the answer. The intent is on the disk before EvoLink is called, every reply of EvoLink
//! is recorded as what it is, and a second paid call is never made: whatever is not known to be refused is unknown.

use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use super::error::ApiError;
use super::internal::InternalState;
use super::{recording, replaying, sending, task_object};
use crate::domain::callback_token::Subject;
use crate::domain::generation::Generation;
use crate::domain::ids::SubmissionId;
use crate::domain::json::Fields;
use crate::domain::observation::{Observation, Source};
use crate::evolink::{Answer, SubmitReply};
use crate::metrics::SubmitEnd;
use crate::store::StoreError;
use crate::store::entry::{Entry, Idempotency, Intent, Receipt, SubmitEnded};
use crate::store::reads::TaskName;

/// How long a second request with the same `Idempotency-Key` waits for the first.
const REPLAY_WAIT: Duration = Duration::from_secs(5);

/// Before a try with a key that was just freed.
const REPLAY_PAUSE: Duration = Duration::from_millis(50);

/// How long a submit waits for its turn. The app waits too, and is better told than kept.
const TURN_WAIT: Duration = Duration::from_secs(5);

/// A submit that is well formed.
#[derive(Debug)]
pub struct Submission {
    pub generation: Generation,
    pub client: Option<String>,
    pub idempotency: Option<Idempotency>,
}

/// A submit that ended in an answer of EvoLink.
#[derive(Debug)]
pub enum Submitted {
    Accepted(Accepted),
    Refused {
        answer: Answer,
        submission_id: SubmissionId,
    },
}

/// A submit that EvoLink accepted, now or when it came for the first time.
#[derive(Debug)]
pub struct Accepted {
    pub task: Fields,
    pub submission_id: SubmissionId,
    pub replayed: bool,
}

impl Submission {
    pub async fn run(self, state: &InternalState) -> Result<Submitted, ApiError> {
        // Its turn first: what is refused for want of one leaves no trace, however many there are.
        let turn = state.rate_limits.submit(TURN_WAIT);
        match state.stopping.run_until_cancelled(turn).await {
            Some(true) => {}
            Some(false) => {
                state.metrics.submit_ended(SubmitEnd::Held);
                return Err(ApiError::too_many_submits());
            }
            None => return Err(ApiError::unavailable()),
        }
        let deadline = Instant::now() + REPLAY_WAIT;
        loop {
            if state.stopping.is_cancelled() {
                return Err(ApiError::unavailable());
            }
            let submission_id = SubmissionId::new(state.clock.now());
            match self.intend(state, submission_id).await? {
                Receipt::Clash => return Err(ApiError::idempotency_conflict()),
                Receipt::Replay(first) => {
                    if let Some(submitted) = replaying::replay(state, first, deadline).await? {
                        state.metrics.submit_ended(SubmitEnd::Replayed);
                        return Ok(submitted);
                    }
                    // The first was refused and has freed the key: this is a new try, but not at once, lest we spin while
                    // the key is still there.
                    if Instant::now() >= deadline {
                        return Err(ApiError::idempotency_in_flight());
                    }
                    sleep(REPLAY_PAUSE).await;
                }
                _ => return self.submit(state, submission_id).await,
            }
        }
    }

    async fn intend(
        &self,
        state: &InternalState,
        submission_id: SubmissionId,
    ) -> Result<Receipt, StoreError> {
        let request =
            serde_json::to_vec(&self.generation.to_record()).expect("a request has a JSON form");
        let intent = Intent {
            submission_id,
            client: self.client.clone(),
            request: Bytes::from(request),
            callback_url: self.generation.callback_url.clone(),
            idempotency: self.idempotency.clone(),
        };
        let recorded = state.recorder.record(Entry::Intent(intent)).await;
        if recorded.as_ref().is_err_and(may_be_written) {
            self.withdraw(state, submission_id);
        }
        recorded
    }

    /// Of an intent that was perhaps written, and that nobody will send: else it would hold its key for as long as keys are
    /// kept. The app does not wait for it.
    fn withdraw(&self, state: &InternalState, submission_id: SubmissionId) {
        let ended = SubmitEnded::Refused {
            answer: None,
            idempotency: self.idempotency.clone(),
        };
        let entry = Entry::SubmitEnded {
            submission_id,
            ended,
        };
        recording::record_withdrawal(state, submission_id, entry);
    }

    async fn submit(&self, state: &InternalState, id: SubmissionId) -> Result<Submitted, ApiError> {
        let token = state.key_ring.mint(&Subject::Submission(id));
        let callback_url = state.public.callback_url(&token);
        let body = self.generation.to_evolink(&callback_url);
        let sending = sending::send(state, &body, id);
        let Some(reply) = state.giving_up.run_until_cancelled(sending).await else {
            let reason = "EvoLink has not answered, and we are stopping";
            return Err(unknown(state, id, reason, Bytes::new()).await);
        };
        match reply {
            SubmitReply::Accepted(seen) => accepted(state, id, seen).await,
            SubmitReply::Refused(answer) => {
                let status = answer.status;
                if matches!(status, 401..=403) {
                    // No app can help that: it is our key, its credits, or its rights.
                    warn!(submission.id = %id, status, "EvoLink refused the submit for our account's sake ({status})");
                } else {
                    info!(submission.id = %id, status, "EvoLink refused the submit ({status})");
                }
                if self.free(state, id, Some(answer.body.clone())).await == Some(Receipt::Known) {
                    warn!(submission.id = %id, status, "a callback told of the task that EvoLink refused: it is the answer");
                    state.metrics.submit_ended(SubmitEnd::Accepted);
                    return as_it_is(state, id).await;
                }
                state.metrics.submit_ended(SubmitEnd::Refused);
                Ok(Submitted::Refused {
                    answer,
                    submission_id: id,
                })
            }
            SubmitReply::Unreachable { reason } => {
                warn!(submission.id = %id, reason, "EvoLink was not reached; nothing was sent");
                state.metrics.submit_ended(SubmitEnd::Unreachable);
                self.free(state, id, None).await;
                Err(ApiError::evolink_unreachable().about(id))
            }
            SubmitReply::Unknown { reason, body, .. } => {
                Err(unknown(state, id, &reason, body).await)
            }
        }
    }

    /// Records that nothing was accepted, which lets the app try again under the same key. `None` if it is not recorded yet.
    async fn free(
        &self,
        state: &InternalState,
        submission_id: SubmissionId,
        answer: Option<Bytes>,
    ) -> Option<Receipt> {
        let ended = SubmitEnded::Refused {
            answer,
            idempotency: self.idempotency.clone(),
        };
        let entry = Entry::SubmitEnded {
            submission_id,
            ended,
        };
        recording::record(state, submission_id, entry).await.ok()
    }
}

async fn accepted(
    state: &InternalState,
    id: SubmissionId,
    seen: Observation,
) -> Result<Submitted, ApiError> {
    let task_id = seen.task_id.clone();
    let entry = Entry::Observed {
        subject: Subject::Submission(id),
        observation: seen,
        source: Source::Submit,
        headers: HeaderMap::new(),
    };
    match recording::record(state, id, entry).await {
        Ok(Receipt::Seen { .. }) => {
            info!(submission.id = %id, task.id = %task_id, "EvoLink accepted the submit");
            state.metrics.submit_ended(SubmitEnd::Accepted);
            as_it_is(state, id).await
        }
        Ok(_) => {
            // Kept in quarantine, and the submit recorded as unknown with it.
            warn!(submission.id = %id, task.id = %task_id, "EvoLink's answer to the submit names another submission's task");
            Err(unknown_to_app(state, id))
        }
        // Unknown to the app; the recording goes on.
        Err(_) => Err(unknown_to_app(state, id)),
    }
}

/// The task of a submit that EvoLink is known to have accepted.
async fn as_it_is(state: &InternalState, id: SubmissionId) -> Result<Submitted, ApiError> {
    match state.store.find_task(&TaskName::Submission(id)).await {
        Ok(Some(view)) => Ok(accepted_as(id, task_object::of_view(&view), false)),
        _ => Err(ApiError::submit_outcome_unknown(id)),
    }
}

/// With what EvoLink answered, if that was anything: it may tell a person more than it told us.
async fn unknown(state: &InternalState, id: SubmissionId, reason: &str, answer: Bytes) -> ApiError {
    warn!(submission.id = %id, reason, "whether EvoLink accepted the submit is unknown; it is not sent again");
    let entry = if answer.is_empty() {
        Entry::SubmitEnded {
            submission_id: id,
            ended: SubmitEnded::Unknown,
        }
    } else {
        Entry::Unreadable {
            subject: Subject::Submission(id),
            source: Source::Submit,
            body: answer,
            reason: reason.to_owned(),
            headers: HeaderMap::new(),
        }
    };
    // The app is told the same whether or not it is recorded yet.
    let _ = recording::record(state, id, entry).await;
    unknown_to_app(state, id)
}

fn unknown_to_app(state: &InternalState, id: SubmissionId) -> ApiError {
    state.metrics.submit_ended(SubmitEnd::Unknown);
    ApiError::submit_outcome_unknown(id)
}

pub(super) const fn accepted_as(
    submission_id: SubmissionId,
    task: Fields,
    replayed: bool,
) -> Submitted {
    Submitted::Accepted(Accepted {
        task,
        submission_id,
        replayed,
    })
}

/// Whether the entry that failed so may be in the store all the same.
const fn may_be_written(error: &StoreError) -> bool {
    !matches!(error, StoreError::Overloaded)
}
