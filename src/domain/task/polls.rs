//! Decides when EvoLink is polled about a task, what a poll without an observation changes, and
//! when polling ends.

use std::time::Duration;

use super::polling::Pace;
use super::{Accepted, Claim, SAME_POLLS_NEEDED, Stage, State, Task};
use crate::domain::event::EventType;
use crate::domain::ids::SubmissionId;
use crate::domain::kind::Kind;
use crate::domain::observation::{Observation, Status};
use crate::domain::timestamp::Timestamp;

/// How long a completed task of a kind whose callbacks come in stages is polled for more results.
/// The gaps double, so these are about five polls: after 6, 12, 24, 48 and 96 s.
const FOLLOWED_UP_FOR: Duration = Duration::from_mins(1);

/// The polling plan of a task: the next poll, and what is remembered of the earlier ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Polling {
    /// When EvoLink is polled next. `None` if no poll is needed.
    pub next_at: Option<Timestamp>,
    pub polled_at: Option<Timestamp>,
    pub polls: u32,
    /// The number of latest polls in a row that reported `completed` without results.
    pub empty_polls: u8,
    /// The number of latest polls in a row that were answered with "no such task".
    pub missed_polls: u8,
}

/// A task whose id is known, so that EvoLink can be polled about it.
pub(super) struct Known<'a> {
    pub kind: Option<Kind>,
    pub submission_id: SubmissionId,
    pub submitted_at: Timestamp,
    /// Whether the observation that is being applied has bound the id.
    pub is_new: bool,
    pub accepted: &'a mut Accepted,
    pub polling: &'a mut Polling,
}

impl Task {
    /// Claims the poll that is due, so that no other replica makes it within `lease`. Returns
    /// `false` if no poll is due.
    pub fn begin_poll(&mut self, now: Timestamp, lease: Duration, pace: &Pace) -> bool {
        let is_due = self.polling.next_at.is_some_and(|at| pace.is_due(at, now));
        if is_due {
            self.polling.next_at = Some(now.after(lease));
            // A suspicious observation during this poll must not cause a second one at once.
            self.polling.polled_at = Some(now);
        }
        is_due
    }

    /// Records that EvoLink does not know the task (404, 410, `invalid_task_id`). After the third
    /// such answer in a row, the task is unresolved and is polled rarely.
    pub fn miss(&mut self, now: Timestamp, pace: &Pace) -> Option<EventType> {
        let pace = &pace.of(self.kind);
        let mut known = self.known()?;
        known.polling.empty_polls = 0;
        known.polling.missed_polls = known.polling.missed_polls.saturating_add(1);
        let event = if known.polling.is_lost() {
            known.accepted.claim = None;
            known.become_unresolved()
        } else {
            None
        };
        known.asked(now, pace);
        event
    }

    /// Records a poll that got no usable answer.
    pub fn asked_in_vain(&mut self, now: Timestamp, pace: &Pace) {
        let pace = &pace.of(self.kind);
        if let Some(mut known) = self.known() {
            known.asked(now, pace);
        }
    }

    /// Postpones the next poll by `pause`, because EvoLink currently answers no polls. The failed
    /// poll says nothing about this task, so it is not counted.
    pub fn put_off(&mut self, pause: Duration, now: Timestamp, pace: &Pace) {
        let pace = &pace.of(self.kind);
        self.polling.polled_at = Some(now);
        let next = now.after(pause.max(pace.interval_min));
        self.polling.next_at = self.polling.next_at.map(|_| next);
    }

    /// Stops polling. This is not an outcome. Returns `None` if the task was not open. An
    /// unconfirmed outcome remains in the history.
    pub fn give_up(&mut self, now: Timestamp) -> Option<EventType> {
        let mut known = self.known()?;
        // EvoLink has reported completion without results, but not often enough to be believed. The
        // polls that decide it are scheduled, so do not cancel them.
        let is_scheduled = known.polling.next_at.is_some_and(|at| at > now);
        if known.polling.empty_polls == 0 || !is_scheduled {
            known.accepted.claim = None;
            known.polling.next_at = None;
        }
        known.become_unresolved()
    }

    /// The time since when polls have been needed.
    pub fn asked_since(&self) -> Timestamp {
        let claimed_at = self.claim().map(|claim| claim.at);
        claimed_at.map_or(self.submitted_at, |at| at.max(self.submitted_at))
    }

    /// Records that a callback reported another outcome than the recorded one, which stays.
    /// Schedules a poll, so that the history shows what EvoLink itself reports.
    pub fn claim_conflict(&mut self, state: State, now: Timestamp, pace: &Pace) {
        let pace = &pace.of(self.kind);
        if let Some(known) = self.known()
            && known.accepted.outcome_at().is_some()
        {
            known.accepted.claim = Some(Claim { state, at: now });
            known.polling.ask_soon(now, pace);
        }
    }

    /// Schedules a poll as soon as the pace allows, because an observation needs EvoLink's own
    /// answer.
    pub fn ask_soon(&mut self, now: Timestamp, pace: &Pace) {
        let pace = &pace.of(self.kind);
        if let Some(known) = self.known()
            && known.accepted.outcome_at().is_none()
        {
            known.polling.ask_soon(now, pace);
        }
    }
}

impl Polling {
    pub(super) fn ask_soon(&mut self, now: Timestamp, pace: &Pace) {
        let time = pace.soonest_poll(now, self.polled_at);
        self.next_at = Some(self.next_at.map_or(time, |planned| planned.min(time)));
    }

    /// Whether EvoLink did not know the task often enough to be believed.
    const fn is_lost(&self) -> bool {
        self.missed_polls >= SAME_POLLS_NEEDED
    }
}

impl Known<'_> {
    /// Returns `None` if the task was not open.
    const fn become_unresolved(&mut self) -> Option<EventType> {
        match self.accepted.stage {
            Stage::Pending | Stage::Processing => {
                self.accepted.stage = Stage::Unresolved;
                Some(EventType::Unresolved)
            }
            Stage::Unresolved | Stage::Ended { .. } => None,
        }
    }

    pub(super) fn count_poll(&mut self, seen: &Observation, now: Timestamp, pace: &Pace) {
        self.polling.missed_polls = 0;
        self.asked(now, pace);
        if self.accepted.outcome_at().is_some() && !self.is_followed_up(now) {
            // EvoLink has answered. Whatever it reported is in the history.
            self.accepted.claim = None;
            self.polling.next_at = None;
        }
        let empty = seen.status == Status::Completed && !seen.has_results();
        self.polling.empty_polls = if empty {
            self.polling.empty_polls.saturating_add(1)
        } else {
            0
        };
    }

    /// Plans the polls that find out whether a completed task gets more results. The callbacks that
    /// would say so may be lost.
    pub(super) fn follow_up(&mut self, now: Timestamp, pace: &Pace) {
        let is_completed = self.accepted.results_digest().is_some();
        if is_completed && self.kind.is_some_and(Kind::is_staged) {
            let state = State::Completed;
            self.accepted.claim = Some(Claim { state, at: now });
            self.polling.next_at = Some(pace.after_outcome(now));
        }
    }

    /// Whether another poll for more results follows one that is made `now`.
    fn is_followed_up(&self, now: Timestamp) -> bool {
        let of_results = self.accepted.claim.filter(|claim| {
            let is_completed = self.accepted.results_digest().is_some();
            is_completed && claim.state == State::Completed
        });
        self.kind.is_some_and(Kind::is_staged)
            && of_results.is_some_and(|claim| now.since(claim.at) < FOLLOWED_UP_FOR)
    }

    fn asked(&mut self, now: Timestamp, pace: &Pace) {
        self.polling.polls = self.polling.polls.saturating_add(1);
        self.polling.polled_at = Some(now);
        let goes_on = self.polling.next_at.is_some() && self.is_polled_again(now, pace);
        self.polling.next_at = goes_on.then(|| self.next_poll(now, pace));
    }

    /// Whether another poll follows the one that was just made. An unresolved task that is older
    /// than `give_up_after` is polled once for each suspicious observation. A finished one is
    /// polled while an outcome is unconfirmed.
    fn is_polled_again(&self, now: Timestamp, pace: &Pace) -> bool {
        let is_wanted = match self.accepted.stage {
            Stage::Pending | Stage::Processing => true,
            Stage::Unresolved => !pace.is_long_ago(self.submitted_at, now),
            Stage::Ended { .. } => false,
        };
        is_wanted || self.accepted.claim.is_some()
    }

    /// Returns the time of the next poll. An unconfirmed outcome restarts the pace, because
    /// EvoLink's answers to polls may lag a little behind its callbacks.
    pub(super) fn next_poll(&self, now: Timestamp, pace: &Pace) -> Timestamp {
        let (id, polls) = (self.submission_id, self.polling.polls);
        let planned = if self.accepted.stage == Stage::Unresolved && self.polling.is_lost() {
            pace.next_rare_poll(now, id, polls)
        } else {
            pace.next_poll(now, id, polls)
        };
        let since_claim = |claim: Claim| now.since(claim.at).max(pace.interval_min);
        let again = (self.accepted.claim).map(|claim| now.after(since_claim(claim)));
        again.map_or(planned, |again| again.min(planned))
    }
}
