//! Applies an observation to a task whose id is known.

use super::confirmation::{Doubt, Policy};
use super::polling::Pace;
use super::polls::Known;
use super::{Claim, Outcome, Published, SAME_POLLS_NEEDED, Seen, Stage, Verdict};
use crate::domain::event::EventType;
use crate::domain::kind::Kind;
use crate::domain::observation::{Observation, Relation, Source, Status};
use crate::domain::timestamp::Timestamp;

/// The meaning of a status, given the results and earlier observations.
enum Word {
    Outcome(Outcome),
    Running(Stage),
    /// EvoLink must be polled before this is acted on.
    Doubtful,
}

impl Known<'_> {
    pub(super) fn hear(
        &mut self,
        published: Option<&Published>,
        seen: &Observation,
        source: Source,
        first: Source,
        now: Timestamp,
        policy: &Policy,
    ) -> Seen {
        let Policy { pace, confirmation } = policy;
        let pace = &pace.of(self.kind);
        if first.is_evolinks_word() {
            self.accepted.vouched_at.get_or_insert(now);
        }
        if source == Source::Poll {
            self.count_poll(seen, now, pace);
        }
        match (self.word(seen), self.accepted.stage) {
            (Word::Outcome(outcome), Stage::Ended { outcome: kept, .. }) => {
                let relation = self.relation(published, seen, first);
                if let Some(relation) = relation {
                    return self.compare_results(&relation, outcome, seen, first, now, pace);
                }
                let compared = compare(kept, outcome, seen);
                let is_doubted =
                    compared.verdict == Verdict::Conflict && confirmation.doubts_conflict(first);
                compared.doubted(is_doubted.then_some(Doubt::Conflict), outcome.state())
            }
            (Word::Running(_) | Word::Doubtful, Stage::Ended { .. }) => {
                Seen::unmoved(Verdict::Unchanged)
            }
            (Word::Outcome(outcome), Stage::Pending | Stage::Processing | Stage::Unresolved) => {
                let is_vouched = self.accepted.vouched_at.is_some();
                let doubt = confirmation.doubt(seen, self.kind, first, is_vouched);
                // While one outcome waits for a poll, another one waits too.
                let claimed = self.accepted.claim.map(|claim| claim.state);
                let contradicts = claimed.is_some_and(|state| state != outcome.state());
                let is_heard_only = contradicts && !first.is_evolinks_word();
                let doubt = doubt.or(is_heard_only.then_some(Doubt::Conflict));
                if doubt.is_none() {
                    return self.finish(outcome, seen, source, now, pace);
                }
                let state = outcome.state();
                self.accepted.claim = Some(Claim { state, at: now });
                let kept = self.doubt(seen, source, now, pace);
                kept.doubted(doubt, state)
            }
            (Word::Running(stage), Stage::Pending | Stage::Processing) => {
                self.advance(stage, seen, source)
            }
            (Word::Running(stage), Stage::Unresolved) => {
                if source != Source::Poll {
                    // EvoLink still knows the task.
                    self.polling.ask_soon(now, pace);
                }
                self.advance(stage, seen, source)
            }
            (Word::Doubtful, Stage::Pending | Stage::Processing | Stage::Unresolved) => {
                self.doubt(seen, source, now, pace)
            }
        }
    }

    /// How the results relate to the published ones. `None` if that decides nothing: they are the
    /// same, or not known, or a callback reports them of a task whose callbacks have no stages.
    fn relation(
        &self,
        published: Option<&Published>,
        seen: &Observation,
        first: Source,
    ) -> Option<Relation> {
        let digest = self.accepted.results_digest()?;
        let has_stages = first.is_evolinks_word() || self.kind.is_some_and(Kind::is_staged);
        if !has_stages || seen.status != Status::Completed || !seen.has_results() {
            return None;
        }
        let published = published.filter(|_| !seen.repeats(digest))?;
        match seen.relation_to(&published.observation, &published.order) {
            Relation::Other => None,
            relation @ (Relation::More(_) | Relation::Part) => Some(relation),
        }
    }

    /// Applies a completion that has the published results and more, or a part of them.
    fn compare_results(
        &mut self,
        relation: &Relation,
        outcome: Outcome,
        seen: &Observation,
        first: Source,
        now: Timestamp,
        pace: &Pace,
    ) -> Seen {
        let Stage::Ended { at, .. } = self.accepted.stage else {
            return Seen::unmoved(Verdict::Unchanged);
        };
        match relation {
            Relation::Part | Relation::Other => Seen::unmoved(Verdict::Duplicate),
            Relation::More(_) if first.is_evolinks_word() => {
                self.accepted.stage = Stage::Ended { outcome, at };
                self.follow_up(now, pace);
                self.raise_progress(seen);
                Seen {
                    verdict: Verdict::Recorded,
                    event: Some(EventType::Updated),
                    doubted: None,
                    moved: true,
                    shown: true,
                }
            }
            // EvoLink itself must say so.
            Relation::More(_) => {
                let state = outcome.state();
                self.accepted.claim = Some(Claim { state, at: now });
                self.polling.ask_soon(now, pace);
                Seen::unmoved(Verdict::Recorded).doubted(Some(Doubt::Staged), state)
            }
        }
    }

    fn word(&self, seen: &Observation) -> Word {
        let completed = || Word::Outcome(Outcome::Completed(seen.results_digest()));
        match &seen.status {
            Status::Pending => Word::Running(Stage::Pending),
            Status::Processing => Word::Running(Stage::Processing),
            Status::Failed => Word::Outcome(Outcome::Failed),
            Status::Cancelled => Word::Outcome(Outcome::Cancelled),
            Status::Completed if seen.has_results() => completed(),
            Status::Completed if self.accepted.results_digest().is_some() => completed(),
            Status::Completed if self.polling.empty_polls >= SAME_POLLS_NEEDED => completed(),
            Status::Completed | Status::Unknown(_) => Word::Doubtful,
        }
    }

    fn finish(
        &mut self,
        outcome: Outcome,
        seen: &Observation,
        source: Source,
        now: Timestamp,
        pace: &Pace,
    ) -> Seen {
        self.accepted.stage = Stage::Ended { outcome, at: now };
        self.accepted.source = source;
        self.accepted.claim = None;
        self.polling.next_at = None;
        self.follow_up(now, pace);
        self.raise_progress(seen);
        Seen {
            verdict: Verdict::Recorded,
            event: EventType::of(outcome.state()),
            doubted: None,
            moved: true,
            shown: true,
        }
    }

    fn advance(&mut self, stage: Stage, seen: &Observation, source: Source) -> Seen {
        let steps = (self.accepted.stage, stage) == (Stage::Pending, Stage::Processing);
        let moves = self.is_new || steps;
        if moves {
            self.accepted.stage = stage;
            self.accepted.source = source;
        }
        let progressed = self.raise_progress(seen);
        if !moves && !progressed {
            return Seen::unmoved(Verdict::Unchanged);
        }
        // Observations may arrive out of order. Do not show one that would look like a step back in
        // progress or status.
        let status_behind = stage == Stage::Pending && self.accepted.stage != Stage::Pending;
        Seen {
            verdict: Verdict::Recorded,
            event: moves.then(|| EventType::of(stage.state())).flatten(),
            doubted: None,
            moved: true,
            shown: !status_behind && !self.is_ahead_of(seen),
        }
    }

    /// Keeps an observation that does not end the task, and schedules a poll. It moves the task
    /// only if no task id was known before.
    fn doubt(&mut self, seen: &Observation, source: Source, now: Timestamp, pace: &Pace) -> Seen {
        if source != Source::Poll {
            self.polling.ask_soon(now, pace);
        } else if self.polling.empty_polls > 0 {
            // Also for an unresolved task: several polls must report this before it is believed.
            self.polling.next_at = Some(self.next_poll(now, pace));
        }
        let unknown = matches!(seen.status, Status::Unknown(_));
        let progressed = unknown && self.raise_progress(seen);
        Seen {
            verdict: Verdict::Recorded,
            event: self.is_new.then_some(EventType::Submitted),
            doubted: None,
            moved: self.is_new || progressed,
            shown: unknown && !self.is_ahead_of(seen),
        }
    }

    /// Applies the progress of `seen` if it is higher than the known one.
    fn raise_progress(&mut self, seen: &Observation) -> bool {
        let known = self.accepted.progress;
        let higher = seen.progress.filter(|progress| *progress > known);
        self.accepted.progress = higher.unwrap_or(known);
        higher.is_some()
    }

    fn is_ahead_of(&self, seen: &Observation) -> bool {
        seen.progress
            .is_some_and(|progress| progress < self.accepted.progress)
    }
}

/// Compares a second outcome with the recorded one: a duplicate or a conflict (rule B7 in
/// `docs/rules.md`).
fn compare(kept: Outcome, outcome: Outcome, seen: &Observation) -> Seen {
    let is_repeat = match (kept, outcome) {
        // A completion without results repeats one with results.
        (Outcome::Completed(digest), Outcome::Completed(_)) => {
            !seen.has_results() || seen.repeats(&digest)
        }
        (Outcome::Completed(_) | Outcome::Failed | Outcome::Cancelled, _) => kept == outcome,
    };
    if is_repeat {
        return Seen::unmoved(Verdict::Duplicate);
    }
    Seen {
        event: Some(EventType::Conflict),
        ..Seen::unmoved(Verdict::Conflict)
    }
}
