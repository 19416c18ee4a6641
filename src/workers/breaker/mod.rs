//! Whether somebody else is to be called at all: EvoLink, or an endpoint. Not while it wants to be left in peace (429). And
//! not while it fails as a whole: then one call at a time goes to see, after a pause that grows, until there is an answer.
//! Pure.
//!
//! Made here and not taken from a crate: those that were looked at count a share of failures whatever failed, let many
//! calls through to see, pause for one fixed time, and go by a clock that no test can move.

#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::domain::timestamp::Timestamp;

/// Calls about different things that must fail, and none be answered between them, before it is the other side that fails.
/// Different ones: what it cannot answer about one must not keep it from being called about others.
const FAILURES: usize = 5;

/// The pause before the first call that goes to see, and the longest.
#[derive(Clone, Copy, Debug)]
pub struct Pauses {
    pub min: Duration,
    pub max: Duration,
}

/// `Id` is what a call is about.
#[derive(Debug)]
pub struct Breaker<Id> {
    pauses: Pauses,
    state: State<Id>,
    /// Since the last 429.
    peace: Option<Pause>,
}

#[derive(Debug)]
enum State<Id> {
    Closed { failed: Vec<Id> },
    Open { pause: Pause, probing: bool },
}

/// A time to be quiet in. Over, too, if the clock went back behind its beginning.
#[derive(Clone, Copy, Debug)]
struct Pause {
    from: Timestamp,
    length: Duration,
}

/// What may be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave {
    Call,
    /// One call, to see whether it is there again. To be given back if it is not used.
    Probe,
    Wait,
}

/// What came of a call, as far as the other side as a whole is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Whatever it says, it is there.
    Answer,
    /// It is there, and wants to be left in peace for so long.
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
        Self {
            pauses,
            state: State::Closed { failed: Vec::new() },
            peace: None,
        }
    }

    pub fn leave(&mut self, now: Timestamp) -> Leave {
        if self.peace.is_some_and(|peace| !peace.is_over(now)) {
            return Leave::Wait;
        }
        match &mut self.state {
            State::Closed { .. } => Leave::Call,
            State::Open { pause, probing } if !*probing && pause.is_over(now) => {
                *probing = true;
                Leave::Probe
            }
            State::Open { .. } => Leave::Wait,
        }
    }

    pub fn give_back(&mut self, leave: Leave) {
        if let (Leave::Probe, State::Open { probing, .. }) = (leave, &mut self.state) {
            *probing = false;
        }
    }

    /// What came of the call about `id` for which `leave` was given.
    pub fn hear(&mut self, heard: Heard, id: Id, leave: Leave, now: Timestamp) -> Option<Change> {
        match heard {
            Heard::Answer => self.close(),
            Heard::Throttled(length) => {
                self.leave_in_peace(Pause { from: now, length });
                self.close()
            }
            Heard::Failure => self.fail(id, leave, now),
        }
    }

    /// Whether it fails as a whole.
    pub const fn is_open(&self) -> bool {
        matches!(self.state, State::Open { .. })
    }

    /// Whether something failed since it was last answered.
    pub const fn is_in_doubt(&self) -> bool {
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

    /// Of two wishes that came together the longer one counts.
    fn leave_in_peace(&mut self, peace: Pause) {
        let ends_later =
            |other: Pause| other.from.after(other.length) > peace.from.after(peace.length);
        let keeps = |other: &Pause| !other.is_over(peace.from) && ends_later(*other);
        self.peace = self.peace.filter(keeps).or(Some(peace));
    }

    fn fail(&mut self, id: Id, leave: Leave, now: Timestamp) -> Option<Change> {
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
                    probing: false,
                };
                Some(Change::Opened)
            }
            State::Open { pause, probing } => {
                // Others were under way when it opened, and say nothing new.
                if leave == Leave::Probe {
                    *probing = false;
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

impl Pause {
    fn is_over(self, now: Timestamp) -> bool {
        now < self.from || now.since(self.from) >= self.length
    }
}
