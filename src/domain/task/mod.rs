//! A task, and the one pure function that moves it between states: `Task::see`.
//!
//! The order and number of submit answers, callbacks and polls do not affect where a task ends.
//! States only move forward, progress never falls, and the first outcome stays.

pub mod confirmation;
pub mod polling;
mod polls;
pub mod seen;
pub mod state;

use super::event::EventType;
use super::ids::{SubmissionId, TaskId};
use super::observation::{Observation, ResultsDigest, Source, Status};
use super::timestamp::Timestamp;
use confirmation::{Doubt, Policy};
use polling::Pace;
pub use seen::{Claim, Doubted, Seen, Verdict};
pub use state::State;

/// The number of polls in a row that must agree before EvoLink is believed. This applies to two
/// answers: a completed task has no results, or a task is gone.
pub const SAME_POLLS_NEEDED: u8 = 3;

/// The part of a task that decides what an observation means for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    pub submission_id: SubmissionId,
    /// The task id, bound by the first observation for this submission. It never changes
    /// afterwards.
    pub task_id: Option<TaskId>,
    /// When EvoLink itself first named that id, in its answer to a submit or a poll. Until then the
    /// id is only known from a callback, which anybody with the URL can send.
    pub vouched_at: Option<Timestamp>,
    pub state: State,
    /// 0 to 100. Never falls.
    pub progress: u8,
    pub submitted_at: Timestamp,
    pub outcome_at: Option<Timestamp>,
    /// The source of the observation that led to the current state.
    pub source: Option<Source>,
    /// The digest of a completed task's results.
    pub results_digest: Option<ResultsDigest>,
    /// An outcome that a callback reported and that EvoLink has not confirmed. If the task is
    /// finished, this is another outcome than the recorded one, which stays.
    pub claim: Option<Claim>,
    /// When EvoLink is polled next. `None` if no poll is needed.
    pub next_poll_at: Option<Timestamp>,
    pub polled_at: Option<Timestamp>,
    pub polls: u32,
    /// The number of latest polls in a row that reported `completed` without results.
    pub empty_polls: u8,
    /// The number of latest polls in a row that were answered with "no such task".
    pub missed_polls: u8,
}

/// The meaning of a status, given the results and earlier observations.
enum Word {
    Outcome(State),
    Running(State),
    /// EvoLink must be polled before this is acted on.
    Doubtful,
}

impl Task {
    /// Creates a task without any observation. It counts as submitted when its id was created.
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

    /// Applies an observation at `now`. The caller must make sure that it is about this task. Its
    /// id is the bound one, or the task has no id yet and may be bound to it.
    pub fn see(
        &mut self,
        seen: &Observation,
        source: Source,
        now: Timestamp,
        policy: &Policy,
    ) -> Seen {
        self.hear(seen, source, source, now, policy)
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
        self.hear(seen, Source::Replay, first, now, policy)
    }

    fn hear(
        &mut self,
        seen: &Observation,
        source: Source,
        first: Source,
        now: Timestamp,
        policy: &Policy,
    ) -> Seen {
        let pace = &policy.pace;
        if self.task_id.is_none() {
            self.task_id = Some(seen.task_id.clone());
            self.next_poll_at = Some(pace.first_poll(now, seen.estimated_time));
        }
        if first.is_evolinks_word() {
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
                    compared.verdict == Verdict::Conflict && confirmation.doubts_conflict(first);
                compared.doubted(is_doubted.then_some(Doubt::Conflict), state)
            }
            Word::Outcome(state) => {
                let doubt = confirmation.doubt(seen, first, self.vouched_at.is_some());
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
            Word::Running(state) => {
                if self.state == State::Unresolved && source != Source::Poll {
                    // EvoLink still knows the task.
                    self.ask_soon(now, pace);
                }
                self.advance(state, seen, source)
            }
            Word::Doubtful => self.doubt(seen, source, now, pace),
        }
    }

    /// Records that the outcome of the submit is unknown, or that EvoLink refused it. A refusal may
    /// come after the outcome was already recorded as unknown. Does nothing if a callback came
    /// first.
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

    /// Compares a second outcome with the recorded one: a duplicate or a conflict (rule B7 in
    /// `docs/rules.md`).
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
        // Observations may arrive out of order. Do not show one that would look like a step back in
        // progress or status.
        let status_behind = state == State::Pending && self.state != State::Pending;
        Seen {
            verdict: Verdict::Recorded,
            event: moves.then(|| EventType::of(self.state)).flatten(),
            doubted: None,
            moved: true,
            shown: !status_behind && !self.is_ahead_of(seen),
        }
    }

    /// Keeps an observation that does not end the task, and schedules a poll. It moves the task
    /// only if no task id was known before.
    fn doubt(&mut self, seen: &Observation, source: Source, now: Timestamp, pace: &Pace) -> Seen {
        let adopted = !self.state.is_confirmed();
        if adopted {
            self.become_state(State::Pending, source);
        }
        if source != Source::Poll {
            self.ask_soon(now, pace);
        } else if self.empty_polls > 0 {
            // Also for an unresolved task: several polls must report this before it is believed.
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

    /// Applies the progress of `seen` if it is higher than the known one.
    fn raise_progress(&mut self, seen: &Observation) -> bool {
        let higher = seen.progress.filter(|progress| *progress > self.progress);
        self.progress = higher.unwrap_or(self.progress);
        higher.is_some()
    }

    fn is_ahead_of(&self, seen: &Observation) -> bool {
        seen.progress
            .is_some_and(|progress| progress < self.progress)
    }
}
