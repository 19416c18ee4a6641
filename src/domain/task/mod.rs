//! A task, and the one pure function that moves it between phases: `Task::see`.
//!
//! The order and number of submit answers, callbacks and polls do not affect where a task ends.
//! Phases only move forward, progress never falls, and the first outcome stays.

pub mod confirmation;
mod hearing;
mod phase;
pub mod polling;
mod polls;
pub mod seen;
pub mod state;

use super::ids::{SubmissionId, TaskId};
use super::kind::Kind;
use super::observation::{Observation, Source};
use super::timestamp::Timestamp;
use confirmation::Policy;
pub use phase::{Accepted, Outcome, Phase, Published, Stage, SubmitEnd};
use polls::Known;
pub use polls::Polling;
pub use seen::{Claim, Doubted, Seen, Verdict};
pub use state::State;

/// The number of polls in a row that must agree before EvoLink is believed. This applies to two
/// answers: a completed task has no results, or a task is gone.
pub const SAME_POLLS_NEEDED: u8 = 3;

/// The part of a task that decides what an observation means for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    pub submission_id: SubmissionId,
    /// `None` until EvoLink says it of a task that was not submitted here.
    pub kind: Option<Kind>,
    pub submitted_at: Timestamp,
    pub phase: Phase,
    pub polling: Polling,
}

impl Task {
    /// Creates a task without any observation. It counts as submitted when its id was created.
    pub fn new(submission_id: SubmissionId) -> Self {
        Self {
            submission_id,
            kind: None,
            submitted_at: submission_id.made_at(),
            phase: Phase::Submitting,
            polling: Polling::default(),
        }
    }

    pub const fn state(&self) -> State {
        self.phase.state()
    }

    /// `None` while no task id is known.
    pub const fn accepted(&self) -> Option<&Accepted> {
        match &self.phase {
            Phase::Accepted(accepted) => Some(accepted),
            Phase::Submitting | Phase::SubmitUnknown | Phase::Rejected => None,
        }
    }

    pub fn task_id(&self) -> Option<&TaskId> {
        self.accepted().map(|accepted| &accepted.task_id)
    }

    pub fn claim(&self) -> Option<Claim> {
        self.accepted()?.claim
    }

    /// The state of an unconfirmed outcome. `None` also for a completed task that is polled only
    /// because more results may come.
    pub fn unconfirmed(&self) -> Option<State> {
        let claim = self.claim()?;
        let may_get_more = self.kind.is_some_and(Kind::is_staged)
            && (self.state(), claim.state) == (State::Completed, State::Completed);
        (!may_get_more).then_some(claim.state)
    }

    /// Applies an observation at `now`. The caller must make sure that it is about this task. Its
    /// id is the bound one, or the task has no id yet and may be bound to it.
    pub fn see(
        &mut self,
        seen: &Observation,
        source: Source,
        now: Timestamp,
        policy: &Policy,
    ) -> Seen {
        self.see_beside(None, seen, source, source, now, policy)
    }

    /// Applies an observation that was stored until now. `first` is the source that it first came
    /// from, which decides whether it needs confirmation.
    pub fn see_again(
        &mut self,
        seen: &Observation,
        first: Source,
        now: Timestamp,
        policy: &Policy,
    ) -> Seen {
        self.see_beside(None, seen, Source::Replay, first, now, policy)
    }

    /// Applies an observation to a task whose `published` results are known, if it is completed.
    /// Only then can the observation extend them. `first` is as for `see_again`.
    pub fn see_beside(
        &mut self,
        published: Option<&Published>,
        seen: &Observation,
        source: Source,
        first: Source,
        now: Timestamp,
        policy: &Policy,
    ) -> Seen {
        self.kind = self.kind.or(seen.kind);
        if let Some(mut known) = self.known() {
            return known.hear(published, seen, source, first, now, policy);
        }
        self.polling.next_at = Some(policy.pace.first_poll(now, seen.estimated_time));
        let mut accepted = Accepted {
            task_id: seen.task_id.clone(),
            vouched_at: None,
            stage: Stage::Pending,
            source,
            progress: 0,
            claim: None,
        };
        let mut known = Known {
            kind: self.kind,
            submission_id: self.submission_id,
            submitted_at: self.submitted_at,
            is_new: true,
            accepted: &mut accepted,
            polling: &mut self.polling,
        };
        let heard = known.hear(published, seen, source, first, now, policy);
        self.phase = Phase::Accepted(accepted);
        heard
    }

    /// Records that the outcome of the submit is unknown, or that EvoLink refused it. A refusal may
    /// come after the outcome was already recorded as unknown. Does nothing if a callback came
    /// first.
    pub fn end_submit(&mut self, end: SubmitEnd) {
        match (&self.phase, end) {
            (Phase::Submitting, SubmitEnd::Unknown) => self.phase = Phase::SubmitUnknown,
            (Phase::Submitting | Phase::SubmitUnknown, SubmitEnd::Refused) => {
                self.phase = Phase::Rejected;
            }
            (Phase::SubmitUnknown, SubmitEnd::Unknown)
            | (Phase::Rejected | Phase::Accepted(_), SubmitEnd::Unknown | SubmitEnd::Refused) => {}
        }
    }

    fn known(&mut self) -> Option<Known<'_>> {
        match &mut self.phase {
            Phase::Accepted(accepted) => Some(Known {
                kind: self.kind,
                submission_id: self.submission_id,
                submitted_at: self.submitted_at,
                is_new: false,
                accepted,
                polling: &mut self.polling,
            }),
            Phase::Submitting | Phase::SubmitUnknown | Phase::Rejected => None,
        }
    }
}
