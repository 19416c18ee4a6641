//! When EvoLink is asked about a task, what a poll that says nothing of it does, and when the asking ends.

use std::time::Duration;

use super::{Claim, SAME_POLLS_NEEDED, State, Task};
use crate::domain::event::EventType;
use crate::domain::observation::{Observation, Status};
use crate::domain::polling::Pace;
use crate::domain::timestamp::Timestamp;

impl Task {
    /// Claims the poll that is due, so that nobody else asks for as long as `lease`; `false` if none is.
    pub fn begin_poll(&mut self, now: Timestamp, lease: Duration, pace: &Pace) -> bool {
        let is_due = self.next_poll_at.is_some_and(|at| pace.is_due(at, now));
        if is_due {
            self.next_poll_at = Some(now.after(lease));
            // What is suspicious meanwhile does not have it asked about twice at once.
            self.polled_at = Some(now);
        }
        is_due
    }

    /// EvoLink says, in answer to a poll, that it does not know the task (404, 410, `invalid_task_id`).
    pub fn miss(&mut self, now: Timestamp, pace: &Pace) -> Option<EventType> {
        self.asked(now, pace);
        self.empty_polls = 0;
        self.missed_polls = self.missed_polls.saturating_add(1);
        if self.missed_polls < SAME_POLLS_NEEDED {
            return None;
        }
        self.give_up(now)
    }

    /// A poll was not answered, or not usably.
    pub fn asked_in_vain(&mut self, now: Timestamp, pace: &Pace) {
        self.asked(now, pace);
    }

    /// A poll that says nothing about this task, since EvoLink answers nobody now: it does not count as one, and the next
    /// comes after `pause`.
    pub fn put_off(&mut self, pause: Duration, now: Timestamp, pace: &Pace) {
        self.polled_at = Some(now);
        let next = now.after(pause.max(pace.interval_min));
        self.next_poll_at = self.next_poll_at.map(|_| next);
    }

    /// Stops asking. Not an outcome; `None` if the task was not open. What was claimed stays in its history.
    pub fn give_up(&mut self, now: Timestamp) -> Option<EventType> {
        // That it has completed without results EvoLink has yet to repeat: it was just asked, and will be.
        let repeats = self.empty_polls > 0 && self.next_poll_at.is_some_and(|at| at > now);
        if !repeats {
            self.claim = None;
            self.next_poll_at = None;
        }
        if !matches!(self.state, State::Pending | State::Processing) {
            return None;
        }
        self.state = State::Unresolved;
        Some(EventType::Unresolved)
    }

    /// Since when there is something to ask.
    pub fn asked_since(&self) -> Timestamp {
        let claimed_at = self.claim.map(|claim| claim.at);
        claimed_at.map_or(self.submitted_at, |at| at.max(self.submitted_at))
    }

    /// A callback told another outcome than the recorded one, which stays. EvoLink is asked, so that the history shows
    /// what it says itself.
    pub fn claim_conflict(&mut self, state: State, now: Timestamp, pace: &Pace) {
        if self.state.is_outcome() {
            self.claim = Some(Claim { state, at: now });
            self.ask_by(pace.soonest_poll(now, self.polled_at));
        }
    }

    /// Something about this task wants EvoLink's own word, as soon as the pace allows.
    pub fn ask_soon(&mut self, now: Timestamp, pace: &Pace) {
        if self.task_id.is_some() && !self.state.is_outcome() {
            self.ask_by(pace.soonest_poll(now, self.polled_at));
        }
    }

    fn ask_by(&mut self, time: Timestamp) {
        self.next_poll_at = Some(self.next_poll_at.map_or(time, |planned| planned.min(time)));
    }

    pub(super) fn count_poll(&mut self, seen: &Observation, now: Timestamp, pace: &Pace) {
        self.asked(now, pace);
        if self.state.is_outcome() {
            // EvoLink has been heard, and whatever it said is in the history.
            self.claim = None;
            self.next_poll_at = None;
        }
        self.missed_polls = 0;
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
        // An unresolved task is asked about once for each suspicion, not for ever; for a claim as long as it stands.
        let is_open = self.state != State::Unresolved && !self.state.is_outcome();
        let goes_on = self.next_poll_at.is_some() && (is_open || self.claim.is_some());
        self.next_poll_at = goes_on.then(|| self.next_poll(now, pace));
    }

    /// A claim begins the pace anew: EvoLink's answer to a poll may be a little behind its callback.
    pub(super) fn next_poll(&self, now: Timestamp, pace: &Pace) -> Timestamp {
        let planned = pace.next_poll(now, self.submission_id, self.polls);
        let since_claim = |claim: Claim| now.since(claim.at).max(pace.interval_min);
        let again = self.claim.map(|claim| now.after(since_claim(claim)));
        again.map_or(planned, |again| again.min(planned))
    }
}
