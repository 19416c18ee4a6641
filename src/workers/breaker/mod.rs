//! A circuit breaker: decides whether EvoLink, or an endpoint, may be called now.
//!
//! It refuses calls during a back-off period that the other side asked for (429). While the other
//! side fails as a whole, it permits only probes: few at once, after pauses that grow, until one is
//! answered. Pure.

#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::domain::timestamp::Timestamp;

/// The number of calls about different things that must fail, without an answer between them,
/// before the other side counts as failing. They must be different, because a call that always
/// fails for one thing must not stop the calls for others.
const FAILURES: usize = 5;

/// The pause before the first probe, and the longest.
#[derive(Clone, Copy, Debug)]
pub struct Pauses {
    pub min: Duration,
    pub max: Duration,
}

/// `Id` identifies what a call is about.
#[derive(Debug)]
pub struct Breaker<Id> {
    pauses: Pauses,
    /// The maximum number of probes at the same time.
    probes: usize,
    state: State<Id>,
    /// The back-off period that the other side asked for last.
    back_off: Option<Pause>,
}

#[derive(Debug)]
enum State<Id> {
    Closed { failed: Vec<Id> },
    Open { pause: Pause, probing: Probing },
}

/// The probes under way.
#[derive(Clone, Copy, Debug, Default)]
struct Probing {
    /// Probes that began since the last pause.
    fresh: usize,
    /// Probes that began before it. Their failures say nothing new.
    stale: usize,
}

/// A period without calls. It also ends if the clock goes back to before its start.
#[derive(Clone, Copy, Debug)]
struct Pause {
    from: Timestamp,
    length: Duration,
}

/// The permit for a call, or its absence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permit {
    Call,
    /// A call that probes whether the other side works again. Return it with `give_back` if it is
    /// not made.
    Probe,
    Denied,
}

/// The outcome of a call, as far as the other side as a whole is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallOutcome {
    /// The other side works, whatever it answered.
    Answer,
    /// The other side works, and asks for a back-off period of this length.
    Throttled(Duration),
    Failure,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Opened,
    Closed,
}

impl<Id: PartialEq> Breaker<Id> {
    pub const fn new(pauses: Pauses) -> Self {
        Self::with_probes(pauses, 1)
    }

    /// Creates a breaker that permits up to `probes` probes at once.
    pub const fn with_probes(pauses: Pauses, probes: usize) -> Self {
        Self {
            pauses,
            probes,
            state: State::Closed { failed: Vec::new() },
            back_off: None,
        }
    }

    pub fn permit(&mut self, now: Timestamp) -> Permit {
        if self.back_off.is_some_and(|back_off| !back_off.is_over(now)) {
            return Permit::Denied;
        }
        match &mut self.state {
            State::Closed { .. } => Permit::Call,
            State::Open { pause, probing }
                if probing.fresh + probing.stale < self.probes && pause.is_over(now) =>
            {
                probing.fresh += 1;
                Permit::Probe
            }
            State::Open { .. } => Permit::Denied,
        }
    }

    pub fn give_back(&mut self, permit: Permit) {
        if let (Permit::Probe, State::Open { probing, .. }) = (permit, &mut self.state) {
            probing.give_back();
        }
    }

    /// Permits no call for `length`. Does not change whether the breaker is open.
    pub fn back_off(&mut self, length: Duration, now: Timestamp) {
        self.extend_back_off(Pause { from: now, length });
    }

    /// Applies the outcome of the call about `id` that had the permit `permit`.
    pub fn record(
        &mut self,
        outcome: CallOutcome,
        id: Id,
        permit: Permit,
        now: Timestamp,
    ) -> Option<Change> {
        match outcome {
            CallOutcome::Answer => self.close(),
            CallOutcome::Throttled(length) => {
                self.extend_back_off(Pause { from: now, length });
                self.close()
            }
            CallOutcome::Failure => self.fail(id, permit, now),
        }
    }

    /// Whether the other side fails as a whole.
    pub const fn is_open(&self) -> bool {
        matches!(self.state, State::Open { .. })
    }

    /// Whether a call failed since the last answer.
    pub const fn has_failed_since_answer(&self) -> bool {
        match &self.state {
            State::Closed { failed } => !failed.is_empty(),
            State::Open { .. } => true,
        }
    }

    fn close(&mut self) -> Option<Change> {
        let was_open = self.is_open();
        self.state = State::Closed { failed: Vec::new() };
        was_open.then_some(Change::Closed)
    }

    /// If two back-off periods overlap, the one that ends later counts.
    fn extend_back_off(&mut self, back_off: Pause) {
        let ends_later =
            |other: Pause| other.from.after(other.length) > back_off.from.after(back_off.length);
        let keeps = |other: &Pause| !other.is_over(back_off.from) && ends_later(*other);
        self.back_off = self.back_off.filter(keeps).or(Some(back_off));
    }

    fn fail(&mut self, id: Id, permit: Permit, now: Timestamp) -> Option<Change> {
        match &mut self.state {
            State::Closed { failed } => {
                if !failed.contains(&id) {
                    failed.push(id);
                }
                if failed.len() < FAILURES {
                    return None;
                }
                let pause = Pause {
                    from: now,
                    length: self.pauses.min,
                };
                self.state = State::Open {
                    pause,
                    probing: Probing::default(),
                };
                Some(Change::Opened)
            }
            State::Open { pause, probing } => {
                // Other calls were under way when the breaker opened. Their failures say nothing
                // new.
                if permit == Permit::Probe && probing.end() {
                    // One round of probes lengthens the pause once, however many of them fail.
                    probing.stale = std::mem::take(&mut probing.fresh);
                    *pause = Pause {
                        from: now,
                        length: (pause.length * 2).min(self.pauses.max),
                    };
                }
                None
            }
        }
    }
}

impl Probing {
    /// Records that one probe failed. Returns whether it belonged to the current round. Stale
    /// probes are removed first, because they began earlier.
    const fn end(&mut self) -> bool {
        if self.stale > 0 {
            self.stale -= 1;
            return false;
        }
        let is_current = self.fresh > 0;
        self.fresh = self.fresh.saturating_sub(1);
        is_current
    }

    /// Records that one of the last permitted probes was not made.
    const fn give_back(&mut self) {
        if self.fresh > 0 {
            self.fresh -= 1;
        } else {
            self.stale = self.stale.saturating_sub(1);
        }
    }
}

impl Pause {
    fn is_over(self, now: Timestamp) -> bool {
        now < self.from || now.since(self.from) >= self.length
    }
}
