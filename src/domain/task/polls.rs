//! Decides when EvoLink is polled about a task, what a poll without an observation changes, and
//! when polling ends.

use std::time::Duration;

use super::polling::Pace;
use super::{Claim, SAME_POLLS_NEEDED, State, Task};
use crate::domain::event::EventType;
use crate::domain::observation::{Observation, Status};
use crate::domain::timestamp::Timestamp;

impl Task {
    /// Claims the poll that is due, so that no other replica makes it within `lease`. Returns
    /// `false` if no poll is due.
    pub fn begin_poll(&mut self, now: Timestamp, lease: Duration, pace: &Pace) -> bool {
        let is_due = self.next_poll_at.is_some_and(|at| pace.is_due(at, now));
        if is_due {
            self.next_poll_at = Some(now.after(lease));
            // A suspicious observation during this poll must not cause a second one at once.
            self.polled_at = Some(now);
        }
        is_due
    }

    /// Records that EvoLink does not know the task (404, 410, `invalid_task_id`). After the third
    /// such answer in a row, the task is unresolved and is polled rarely.
    pub fn miss(&mut self, now: Timestamp, pace: &Pace) -> Option<EventType> {
        self.empty_polls = 0;
        self.missed_polls = self.missed_polls.saturating_add(1);
        let event = if self.is_lost() {
            self.claim = None;
            self.become_unresolved()
        } else {
            None
        };
        self.asked(now, pace);
        event
    }

    /// Records a poll that got no usable answer.
    pub fn asked_in_vain(&mut self, now: Timestamp, pace: &Pace) {
        self.asked(now, pace);
    }

    /// Postpones the next poll by `pause`, because EvoLink currently answers no polls. The failed
    /// poll says nothing about this task, so it is not counted.
    pub fn put_off(&mut self, pause: Duration, now: Timestamp, pace: &Pace) {
        self.polled_at = Some(now);
        let next = now.after(pause.max(pace.interval_min));
        self.next_poll_at = self.next_poll_at.map(|_| next);
    }

    /// Stops polling. This is not an outcome. Returns `None` if the task was not open. An
    /// unconfirmed outcome remains in the history.
    pub fn give_up(&mut self, now: Timestamp) -> Option<EventType> {
        // EvoLink has reported completion without results, but not often enough to be believed. The
        // polls that decide it are scheduled, so do not cancel them.
        let repeats = self.empty_polls > 0 && self.next_poll_at.is_some_and(|at| at > now);
        if !repeats {
            self.claim = None;
            self.next_poll_at = None;
        }
        self.become_unresolved()
    }

    /// Returns `None` if the task was not open.
    fn become_unresolved(&mut self) -> Option<EventType> {
        if !matches!(self.state, State::Pending | State::Processing) {
            return None;
        }
        self.state = State::Unresolved;
        Some(EventType::Unresolved)
    }

    /// Whether EvoLink did not know the task often enough to be believed.
    const fn is_lost(&self) -> bool {
        self.missed_polls >= SAME_POLLS_NEEDED
    }

    /// The time since when polls have been needed.
    pub fn asked_since(&self) -> Timestamp {
        let claimed_at = self.claim.map(|claim| claim.at);
        claimed_at.map_or(self.submitted_at, |at| at.max(self.submitted_at))
    }

    /// Records that a callback reported another outcome than the recorded one, which stays.
    /// Schedules a poll, so that the history shows what EvoLink itself reports.
    pub fn claim_conflict(&mut self, state: State, now: Timestamp, pace: &Pace) {
        if self.state.is_outcome() {
            self.claim = Some(Claim { state, at: now });
            self.ask_by(pace.soonest_poll(now, self.polled_at));
        }
    }

    /// Schedules a poll as soon as the pace allows, because an observation needs EvoLink's own
    /// answer.
    pub fn ask_soon(&mut self, now: Timestamp, pace: &Pace) {
        if self.task_id.is_some() && !self.state.is_outcome() {
            self.ask_by(pace.soonest_poll(now, self.polled_at));
        }
    }

    fn ask_by(&mut self, time: Timestamp) {
        self.next_poll_at = Some(self.next_poll_at.map_or(time, |planned| planned.min(time)));
    }

    pub(super) fn count_poll(&mut self, seen: &Observation, now: Timestamp, pace: &Pace) {
        self.missed_polls = 0;
        self.asked(now, pace);
        if self.state.is_outcome() {
            // EvoLink has answered. Whatever it reported is in the history.
            self.claim = None;
            self.next_poll_at = None;
        }
        let empty = seen.status == Status::Completed && seen.results.is_empty();
        self.empty_polls = if empty {
            self.empty_polls.saturating_add(1)
        } else {
            0
        };
    }

    fn asked(&mut self, now: Timestamp, pace: &Pace) {
        self.polls = self.polls.saturating_add(1);
        self.polled_at = Some(now);
        let goes_on = self.next_poll_at.is_some() && self.is_polled_again(now, pace);
        self.next_poll_at = goes_on.then(|| self.next_poll(now, pace));
    }

    /// Whether another poll follows the one that was just made. An unresolved task that is older
    /// than `give_up_after` is polled once for each suspicious observation. A finished one is
    /// polled while an outcome is unconfirmed.
    fn is_polled_again(&self, now: Timestamp, pace: &Pace) -> bool {
        let is_wanted = match self.state {
            State::Submitting
            | State::SubmitUnknown
            | State::Rejected
            | State::Pending
            | State::Processing => true,
            State::Unresolved => !pace.is_long_ago(self.submitted_at, now),
            State::Completed | State::Failed | State::Cancelled => false,
        };
        is_wanted || self.claim.is_some()
    }

    /// Returns the time of the next poll. An unconfirmed outcome restarts the pace, because
    /// EvoLink's answers to polls may lag a little behind its callbacks.
    pub(super) fn next_poll(&self, now: Timestamp, pace: &Pace) -> Timestamp {
        let planned = if self.state == State::Unresolved && self.is_lost() {
            pace.next_rare_poll(now, self.submission_id, self.polls)
        } else {
            pace.next_poll(now, self.submission_id, self.polls)
        };
        let since_claim = |claim: Claim| now.since(claim.at).max(pace.interval_min);
        let again = self.claim.map(|claim| now.after(since_claim(claim)));
        again.map_or(planned, |again| again.min(planned))
    }
}
