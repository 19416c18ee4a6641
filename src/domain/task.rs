//! The states of a task, and the one pure function that moves between them: `Task::see`.
//!
//! The order and number of submit answer, callbacks and polls make no difference to where a task ends (promise 5):
//! states only move forward, progress never falls, and the first outcome stays.

use std::time::Duration;

use super::confirmation::{Doubt, Policy};
use super::event::EventType;
use super::ids::{SubmissionId, TaskId};
use super::observation::{Observation, ResultsDigest, Source, Status};
use super::polling::Pace;
pub use super::seen::{Claim, Doubted, Seen, Verdict};
pub use super::state::State;
use super::timestamp::Timestamp;

/// Polls that must say the same before EvoLink is believed that a completed task has no results, or that a task is gone.
pub const SAME_POLLS_NEEDED: u8 = 3;

/// The part of a task that decides what an observation means for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    pub submission_id: SubmissionId,
    /// Bound by the first observation that reaches this submission; never changes after.
    pub task_id: Option<TaskId>,
    /// When EvoLink itself first named that id, in answer to a submit or to a poll. Until then it is the word of whoever has
    /// the callback URL.
    pub vouched_at: Option<Timestamp>,
    pub state: State,
    /// 0 to 100; never falls.
    pub progress: u8,
    pub submitted_at: Timestamp,
    pub outcome_at: Option<Timestamp>,
    /// The way by which the present state became known.
    pub source: Option<Source>,
    /// Of a completed task.
    pub results_digest: Option<ResultsDigest>,
    /// An outcome that a callback told of and that waits for EvoLink's own word. Of a task that has ended: another one
    /// than the recorded, which stays.
    pub claim: Option<Claim>,
    /// When to ask EvoLink next; `None` if there is nothing to ask.
    pub next_poll_at: Option<Timestamp>,
    pub polled_at: Option<Timestamp>,
    pub polls: u32,
    /// Polls running that said `completed` and named no result.
    pub empty_polls: u8,
    /// Polls running that were answered with "no such task".
    pub missed_polls: u8,
}

/// What a status says once results and repetition are taken into account.
enum Word {
    Outcome(State),
    Running(State),
    /// Not to be acted on before EvoLink was asked.
    Doubtful,
}

impl Task {
    /// A task as it is before anything is known of it: submitted when its id was made.
    pub fn new(submission_id: SubmissionId, state: State) -> Self {
        Self {
            submission_id,
            task_id: None,
            vouched_at: None,
            state,
            progress: 0,
            submitted_at: submission_id.made_at(),
            outcome_at: None,
            source: None,
            results_digest: None,
            claim: None,
            next_poll_at: None,
            polled_at: None,
            polls: 0,
            empty_polls: 0,
            missed_polls: 0,
        }
    }

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

    /// Applies what EvoLink said at `now`. The caller has made sure that the observation is about this task: its id is
    /// the bound one, or none is bound yet and this one is free.
    pub fn see(
        &mut self,
        seen: &Observation,
        source: Source,
        now: Timestamp,
        policy: &Policy,
    ) -> Seen {
        let pace = &policy.pace;
        if self.task_id.is_none() {
            self.task_id = Some(seen.task_id.clone());
            self.next_poll_at = Some(pace.first_poll(now, seen.estimated_time));
        }
        if matches!(source, Source::Submit | Source::Poll) {
            self.vouched_at.get_or_insert(now);
        }
        if source == Source::Poll {
            self.count_poll(seen, now, pace);
        }
        let confirmation = &policy.confirmation;
        match self.word(seen) {
            Word::Outcome(state) if self.state.is_outcome() => {
                let compared = self.compare(state, seen);
                let is_doubted =
                    compared.verdict == Verdict::Conflict && confirmation.doubts_conflict(source);
                compared.doubted(is_doubted.then_some(Doubt::Conflict), state)
            }
            Word::Outcome(state) => {
                let doubt = confirmation.doubt(seen, source, self.vouched_at.is_some());
                if doubt.is_none() {
                    return self.finish(state, seen, source, now);
                }
                self.claim = Some(Claim { state, at: now });
                let kept = self.doubt(seen, source, now, pace);
                kept.doubted(doubt, state)
            }
            Word::Running(_) | Word::Doubtful if self.state.is_outcome() => {
                Seen::unmoved(Verdict::Unchanged)
            }
            Word::Running(state) => self.advance(state, seen, source),
            Word::Doubtful => self.doubt(seen, source, now, pace),
        }
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

    /// EvoLink's answer to the submit is not known, or is a refusal, which may come after we thought it would never be known.
    /// Does nothing if a callback was quicker.
    pub fn end_submit(&mut self, state: State) {
        let is_late_refusal = self.state == State::SubmitUnknown && state == State::Rejected;
        if self.state == State::Submitting || is_late_refusal {
            self.state = state;
        }
    }

    fn word(&self, seen: &Observation) -> Word {
        match &seen.status {
            Status::Pending => Word::Running(State::Pending),
            Status::Processing => Word::Running(State::Processing),
            Status::Failed => Word::Outcome(State::Failed),
            Status::Cancelled => Word::Outcome(State::Cancelled),
            Status::Completed if !seen.results.is_empty() => Word::Outcome(State::Completed),
            Status::Completed if self.state == State::Completed => Word::Outcome(State::Completed),
            Status::Completed if self.empty_polls >= SAME_POLLS_NEEDED => {
                Word::Outcome(State::Completed)
            }
            Status::Completed | Status::Unknown(_) => Word::Doubtful,
        }
    }

    /// Whether a second outcome is the first one again (rule B7).
    fn compare(&self, state: State, seen: &Observation) -> Seen {
        let same_results = seen.results.is_empty()
            || state != State::Completed
            || self.results_digest == Some(seen.results_digest());
        if self.state == state && same_results {
            return Seen::unmoved(Verdict::Duplicate);
        }
        Seen {
            event: Some(EventType::Conflict),
            ..Seen::unmoved(Verdict::Conflict)
        }
    }

    fn finish(&mut self, state: State, seen: &Observation, source: Source, now: Timestamp) -> Seen {
        self.become_state(state, source);
        self.outcome_at = Some(now);
        self.claim = None;
        self.next_poll_at = None;
        self.raise_progress(seen);
        self.results_digest = (state == State::Completed).then(|| seen.results_digest());
        Seen {
            verdict: Verdict::Recorded,
            event: EventType::of(state),
            doubted: None,
            moved: true,
            shown: true,
        }
    }

    fn advance(&mut self, state: State, seen: &Observation, source: Source) -> Seen {
        let moves = match (self.state, state) {
            (State::Submitting | State::SubmitUnknown | State::Rejected, _)
            | (State::Pending, State::Processing) => true,
            (State::Pending | State::Processing | State::Unresolved, _) => false,
            (State::Completed | State::Failed | State::Cancelled, _) => {
                return Seen::unmoved(Verdict::Unchanged);
            }
        };
        if moves {
            self.become_state(state, source);
        }
        let progressed = self.raise_progress(seen);
        if !moves && !progressed {
            return Seen::unmoved(Verdict::Unchanged);
        }
        // What came in the wrong order must not be shown as a step back, neither in progress nor in status.
        let status_behind = state == State::Pending && self.state != State::Pending;
        Seen {
            verdict: Verdict::Recorded,
            event: moves.then(|| EventType::of(self.state)).flatten(),
            doubted: None,
            moved: true,
            shown: !status_behind && !self.is_ahead_of(seen),
        }
    }

    /// Keeps a statement that neither ends nor moves the task, and has EvoLink asked.
    fn doubt(&mut self, seen: &Observation, source: Source, now: Timestamp, pace: &Pace) -> Seen {
        let adopted = !self.state.is_confirmed();
        if adopted {
            self.become_state(State::Pending, source);
        }
        if source != Source::Poll {
            self.ask_soon(now, pace);
        } else if self.empty_polls > 0 {
            // Also for an unresolved task: it takes so many polls to believe this one.
            self.next_poll_at = Some(self.next_poll(now, pace));
        }
        let unknown = matches!(seen.status, Status::Unknown(_));
        let progressed = unknown && self.raise_progress(seen);
        Seen {
            verdict: Verdict::Recorded,
            event: adopted.then_some(EventType::Submitted),
            doubted: None,
            moved: adopted || progressed,
            shown: unknown && !self.is_ahead_of(seen),
        }
    }

    fn become_state(&mut self, state: State, source: Source) {
        self.state = state;
        self.source = Some(source);
    }

    /// Takes over the progress that `seen` tells of, if it is more than is known.
    fn raise_progress(&mut self, seen: &Observation) -> bool {
        let higher = seen.progress.filter(|progress| *progress > self.progress);
        self.progress = higher.unwrap_or(self.progress);
        higher.is_some()
    }

    fn is_ahead_of(&self, seen: &Observation) -> bool {
        seen.progress
            .is_some_and(|progress| progress < self.progress)
    }

    fn count_poll(&mut self, seen: &Observation, now: Timestamp, pace: &Pace) {
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
    fn next_poll(&self, now: Timestamp, pace: &Pace) -> Timestamp {
        let planned = pace.next_poll(now, self.submission_id, self.polls);
        let since_claim = |claim: Claim| now.since(claim.at).max(pace.interval_min);
        let again = self.claim.map(|claim| now.after(since_claim(claim)));
        again.map_or(planned, |again| again.min(planned))
    }
}
