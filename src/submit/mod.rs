//! One submit, from its intent to its answer. The intent is on the disk before EvoLink is called,
//! and every reply of EvoLink is recorded. A second paid call is never made: if a submit is not
//! known to be refused, its outcome counts as unknown.

pub mod recording;
pub mod repeating;
pub mod replaying;
pub mod sending;

use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use tokio::time::{Instant, sleep, timeout_at};
use tracing::{error, info, warn};

use crate::domain::callback::Subject;
use crate::domain::generation::Generation;
use crate::domain::ids::SubmissionId;
use crate::domain::json::Fields;
use crate::domain::observation::{Observation, Source};
use crate::evolink::{Answer, SubmitReply};
use crate::http::internal::InternalState;
use crate::http::internal::error::ApiError;
use crate::http::internal::submits::presence::Absence;
use crate::observe::metrics::SubmitEnd;
use crate::store::StoreError;
use crate::store::read::TaskName;
use crate::store::recorder::entry::{Entry, Idempotency, Intent, Receipt, SubmitEnded};
use crate::store::repeats::RepeatGuard;
use crate::task_object;
use repeating::watch_rows;
use replaying::First;

/// How long a second request with the same `Idempotency-Key` waits for the first.
const REPLAY_WAIT: Duration = Duration::from_secs(5);

/// Pause before another attempt with a key that was just freed.
const REPLAY_PAUSE: Duration = Duration::from_millis(50);

/// How long a submit waits for a permit of the rate limit.
const TURN_WAIT: Duration = Duration::from_secs(5);

/// Time from the request to the receipt of its intent. After it the app gets a 503, in less than 8
/// s, and nothing is sent.
const INTEND_WAIT: Duration = Duration::from_secs(6);

/// Maximum number of retries for a submit that may be a repeat. Each retry follows new information
/// about an equal submit.
const GUARDED_TRIES_MAX: u32 = 4;

/// A well-formed submit.
#[derive(Debug)]
pub struct Submission {
    pub generation: Generation,
    pub client: Option<String>,
    pub idempotency: Option<Idempotency>,
}

/// A submit that EvoLink answered.
#[derive(Debug)]
pub enum Submitted {
    Accepted(Accepted),
    Refused {
        answer: Answer,
        submission_id: SubmissionId,
    },
}

/// A submit that EvoLink accepted, now or when it was first made.
#[derive(Debug)]
pub struct Accepted {
    pub task: Fields,
    pub submission_id: SubmissionId,
    pub replayed: bool,
}

impl Submission {
    /// Processes the submit to its end as submission `id`. Sends nothing once the app has
    /// disconnected.
    pub async fn run(
        self,
        state: &InternalState,
        id: SubmissionId,
        absence: &Absence,
    ) -> Result<Submitted, ApiError> {
        let began = Instant::now();
        self.wait_for_turn(state, absence).await?;
        let mut guard = self.guard(state);
        let mut intend_by = began + INTEND_WAIT;
        let mut guarded_tries = 0;
        let replay_by = Instant::now() + REPLAY_WAIT;
        loop {
            if state.stopping.is_cancelled() || guarded_tries > GUARDED_TRIES_MAX {
                return Err(ApiError::unavailable());
            }
            match self
                .intend(state, id, guard.as_ref(), intend_by, absence)
                .await?
            {
                Receipt::Fresh => return self.submit(state, id, absence).await,
                Receipt::Clash => return Err(ApiError::idempotency_conflict()),
                Receipt::Replay(first) => {
                    if let Some(submitted) = replay(state, first, replay_by, absence).await? {
                        return Ok(submitted);
                    }
                    // The first submit was refused, which frees the key, so this one is a new
                    // attempt. The pause prevents spinning while the key still exists.
                    if Instant::now() >= replay_by {
                        return Err(ApiError::idempotency_in_flight());
                    }
                    sleep(REPLAY_PAUSE).await;
                }
                Receipt::Repeat { first, is_orphan } => {
                    info!(submission.id = %first, repeat.id = %id, "a submit repeats {first}, whose answer its app never received; it is not sent");
                    let by = answer_due(state, first, is_orphan);
                    if let Some(submitted) = repeat(state, first, by, absence).await? {
                        return Ok(submitted);
                    }
                    guarded_tries += 1;
                }
                Receipt::Unsure => {
                    guard = self.look_again(state, guard, absence).await?;
                    guarded_tries += 1;
                }
                receipt => {
                    error!(submission.id = %id, ?receipt, "an intent has a receipt of something else");
                    return Err(ApiError::internal());
                }
            }
            intend_by = intend_by.max(Instant::now() + INTEND_WAIT / 2);
        }
    }

    /// Rate-limits before recording, so that a rejected flood writes no rows.
    async fn wait_for_turn(
        &self,
        state: &InternalState,
        absence: &Absence,
    ) -> Result<(), ApiError> {
        let turn = state.rate_limits.submit(TURN_WAIT);
        let turn = absence.run_until_cancelled(turn);
        match state.stopping.run_until_cancelled(turn).await {
            Some(Some(true)) => Ok(()),
            Some(Some(false)) => {
                state.metrics.submit_ended(SubmitEnd::Held);
                Err(ApiError::too_many_submits())
            }
            Some(None) => Err(abandoned(state)),
            None => Err(ApiError::unavailable()),
        }
    }

    fn guard(&self, state: &InternalState) -> Option<RepeatGuard> {
        let window = state.repeat_window;
        let is_guarded = self.idempotency.is_none() && !window.is_zero();
        is_guarded.then(|| RepeatGuard {
            fingerprint: self.generation.fingerprint().to_bytes(),
            window,
            is_second_look: false,
            watched: Vec::new(),
        })
    }

    /// Called when the app of an equal submit still seems to wait: finds out what can be known
    /// about that app.
    async fn look_again(
        &self,
        state: &InternalState,
        guard: Option<RepeatGuard>,
        absence: &Absence,
    ) -> Result<Option<RepeatGuard>, ApiError> {
        let Some(guard) = guard else { return Ok(None) };
        let client = self.client.as_deref().unwrap_or_default();
        let watching = watch_rows(state, client, &guard.fingerprint, guard.window);
        let Some(watched) = absence.run_until_cancelled(watching).await else {
            return Err(abandoned(state));
        };
        Ok(Some(RepeatGuard {
            is_second_look: true,
            watched: watched?,
            ..guard
        }))
    }

    /// Records the intent. After an error the submit is not sent, whether or not the intent was
    /// written.
    async fn intend(
        &self,
        state: &InternalState,
        submission_id: SubmissionId,
        guard: Option<&RepeatGuard>,
        deadline: Instant,
        absence: &Absence,
    ) -> Result<Receipt, ApiError> {
        let request =
            serde_json::to_vec(&self.generation.to_record()).expect("a request has a JSON form");
        let intent = Intent {
            submission_id,
            client: self.client.clone(),
            request: Bytes::from(request),
            callback_url: self.generation.callback_url.clone(),
            idempotency: self.idempotency.clone(),
            guard: guard.cloned(),
        };
        let recording = timeout_at(deadline, state.recorder.record(Entry::Intent(intent)));
        let recorded = match absence.run_until_cancelled(recording).await {
            Some(in_time) => in_time.unwrap_or(Err(StoreError::TooSlow)).map(Some),
            None => Ok(None),
        };
        match recorded {
            // The app may have disconnected while the receipt was on its way.
            Ok(Some(Receipt::Fresh)) if absence.is_cancelled() => {}
            Ok(Some(receipt)) => return Ok(receipt),
            Ok(None) => {}
            Err(error) => {
                if may_be_written(&error) {
                    self.withdraw(state, submission_id);
                }
                state.metrics.submit_ended(SubmitEnd::NotRecorded);
                return Err(error.into());
            }
        }
        self.withdraw(state, submission_id);
        Err(abandoned(state))
    }

    /// Withdraws an intent that may have been written but is not sent. Otherwise it would hold its
    /// key for as long as keys are kept. The app does not wait for this.
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

    async fn submit(
        &self,
        state: &InternalState,
        id: SubmissionId,
        absence: &Absence,
    ) -> Result<Submitted, ApiError> {
        let token = state.key_ring.mint(&Subject::Submission(id));
        let callback_url = state.public.callback_url(&token);
        let body = self.generation.to_evolink(&callback_url);
        let sending = sending::send(state, &body, id, absence);
        let Some(reply) = state.giving_up.run_until_cancelled(sending).await else {
            let reason = "EvoLink has not answered, and we are stopping";
            return Err(unknown(state, id, reason, Bytes::new()).await);
        };
        match reply {
            SubmitReply::Accepted(seen) => accepted(state, id, seen).await,
            SubmitReply::Refused(answer) => self.refused(state, id, answer).await,
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

    async fn refused(
        &self,
        state: &InternalState,
        id: SubmissionId,
        answer: Answer,
    ) -> Result<Submitted, ApiError> {
        let status = answer.status;
        info!(submission.id = %id, status, "EvoLink refused the submit ({status})");
        let key_source = state.evolink.health().key_source();
        let about_key = answer
            .is_about_key()
            .then(|| ApiError::evolink_key_rejected(answer.is_in_envelope(), key_source).about(id));
        // The app's record must not say either that the app's own key is wrong.
        let shown = about_key
            .as_ref()
            .map_or_else(|| answer.body.clone(), ApiError::to_body);
        if self.free(state, id, Some(shown)).await == Some(Receipt::Known) {
            warn!(submission.id = %id, status, "a callback told of the task that EvoLink refused: it is the answer");
            state.metrics.submit_ended(SubmitEnd::Accepted);
            return as_it_is(state, id).await;
        }
        state.metrics.submit_ended(match status {
            401 => SubmitEnd::KeyRejected,
            402 => SubmitEnd::NoCredits,
            403 => SubmitEnd::Forbidden,
            _ => SubmitEnd::Refused,
        });
        match about_key {
            Some(error) => Err(error),
            None => Ok(Submitted::Refused {
                answer,
                submission_id: id,
            }),
        }
    }

    /// Records that EvoLink accepted nothing, so that the app can retry under the same key. Returns
    /// `None` if this is not recorded yet.
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

/// The answer to the first submit under the same key; `None` if that one was refused.
async fn replay(
    state: &InternalState,
    first: SubmissionId,
    deadline: Instant,
    absence: &Absence,
) -> Result<Option<Submitted>, ApiError> {
    match answer_of(state, first, deadline, absence).await? {
        First::Answered(submitted) => {
            state.metrics.submit_ended(SubmitEnd::Replayed);
            Ok(Some(*submitted))
        }
        First::Refused => Ok(None),
        First::Unknown => Err(ApiError::submit_outcome_unknown(first).replayed()),
        First::InFlight => Err(ApiError::idempotency_in_flight()),
    }
}

/// The answer to the submit that is repeated; `None` if that one was refused, so that this is a new
/// submit.
async fn repeat(
    state: &InternalState,
    first: SubmissionId,
    deadline: Instant,
    absence: &Absence,
) -> Result<Option<Submitted>, ApiError> {
    let answer = match answer_of(state, first, deadline, absence).await? {
        First::Answered(submitted) => Ok(Some(*submitted)),
        First::Refused => return Ok(None),
        First::Unknown | First::InFlight => Err(ApiError::submit_outcome_unknown(first).replayed()),
    };
    state.metrics.submit_ended(SubmitEnd::Repeated);
    answer
}

async fn answer_of(
    state: &InternalState,
    first: SubmissionId,
    deadline: Instant,
    absence: &Absence,
) -> Result<First, ApiError> {
    let finding = replaying::find_answer(state, first, deadline);
    match absence.run_until_cancelled(finding).await {
        Some(found) => found,
        None => Err(abandoned(state)),
    }
}

/// The time until which the process that sent the first submit may still answer it.
fn answer_due(state: &InternalState, first: SubmissionId, is_orphan: bool) -> Instant {
    let whole = state.evolink_timeout + REPLAY_WAIT;
    let age = state.clock.now().as_millis() - first.made_at().as_millis();
    let age = Duration::from_millis(u64::try_from(age).unwrap_or(0));
    let left = if is_orphan {
        Duration::ZERO
    } else {
        whole.saturating_sub(age)
    };
    Instant::now() + left
}

/// The error for an app that disconnected before anything was sent. No client reads it.
fn abandoned(state: &InternalState) -> ApiError {
    info!("the app disconnected before its submit was sent; it is not sent");
    state.metrics.submit_ended(SubmitEnd::Abandoned);
    ApiError::unavailable()
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
            // The answer is in quarantine, and the submit was recorded as unknown together with it.
            warn!(submission.id = %id, task.id = %task_id, "EvoLink's answer to the submit names another submission's task");
            Err(unknown_to_app(state, id))
        }
        // The outcome is unknown to the app. The recording continues in the background.
        Err(_) => Err(unknown_to_app(state, id)),
    }
}

/// Returns the task of a submit that EvoLink has certainly accepted.
async fn as_it_is(state: &InternalState, id: SubmissionId) -> Result<Submitted, ApiError> {
    match state.store.find_task(&TaskName::Submission(id)).await {
        Ok(Some(view)) => Ok(accepted_as(id, task_object::of_view(&view), false)),
        _ => Err(ApiError::submit_outcome_unknown(id)),
    }
}

/// Records that the outcome is unknown, together with EvoLink's answer if there was one: a person
/// may understand an answer that this program does not.
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
    // The app gets the same answer whether or not this is recorded yet.
    let _ = recording::record(state, id, entry).await;
    unknown_to_app(state, id)
}

fn unknown_to_app(state: &InternalState, id: SubmissionId) -> ApiError {
    state.metrics.submit_ended(SubmitEnd::Unknown);
    ApiError::submit_outcome_unknown(id)
}

pub const fn accepted_as(submission_id: SubmissionId, task: Fields, replayed: bool) -> Submitted {
    Submitted::Accepted(Accepted {
        task,
        submission_id,
        replayed,
    })
}

/// Whether an entry may be in the store although recording it returned `error`.
const fn may_be_written(error: &StoreError) -> bool {
    !matches!(error, StoreError::Overloaded)
}
