//! Whether somebody else is to be called at all: EvoLink, or an endpoint. Not while it wants to be left in peace (429). And
//! not while it fails as a whole: then one call at a time goes to see, after a pause that grows, until there is an answer.
//! Pure.
//!
//! Made here and not taken from a crate: those that were looked at count a share of failures whatever failed, let many
//! calls through to see, pause for one fixed time, and go by a clock that no test can move.

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::SubmissionId;

    const START: Timestamp = Timestamp::from_millis(1_757_165_031_007);

    const PAUSES: Pauses = Pauses {
        min: Duration::from_secs(5),
        max: Duration::from_mins(1),
    };

    fn id(number: u32) -> SubmissionId {
        let text = format!("0199207c-9f7f-7000-8000-{number:012x}");
        text.parse().unwrap()
    }

    fn at(seconds: u64) -> Timestamp {
        START.after(Duration::from_secs(seconds))
    }

    /// One that five failures have opened at `START`.
    fn opened() -> Breaker<SubmissionId> {
        let mut breaker = Breaker::new(PAUSES);
        for number in 1..=5 {
            assert_eq!(breaker.leave(START), Leave::Call);
            let change = breaker.hear(Heard::Failure, id(number), Leave::Call, START);
            assert_eq!(change, (number == 5).then_some(Change::Opened));
        }
        assert!(breaker.is_open());
        breaker
    }

    #[test]
    fn one_call_at_a_time_goes_to_see_after_pauses_that_grow_to_a_minute() {
        let mut breaker = opened();
        let mut now = 0;
        for pause in [5, 10, 20, 40, 60, 60, 60] {
            assert_eq!(breaker.leave(at(now + pause - 1)), Leave::Wait);
            assert_eq!(breaker.leave(at(now + pause)), Leave::Probe);
            assert_eq!(breaker.leave(at(now + pause)), Leave::Wait, "one");
            // It takes its time, in which no other goes.
            now += pause + 30;
            assert_eq!(breaker.leave(at(now)), Leave::Wait);
            let change = breaker.hear(Heard::Failure, id(1), Leave::Probe, at(now));
            assert_eq!(change, None);
        }
        assert_eq!(breaker.leave(at(now + 60)), Leave::Probe);
        let change = breaker.hear(Heard::Answer, id(1), Leave::Probe, at(now + 60));
        assert_eq!(change, Some(Change::Closed));
        assert_eq!(breaker.leave(at(now + 60)), Leave::Call);
        assert_eq!(
            breaker.hear(Heard::Failure, id(1), Leave::Call, at(now)),
            None
        );
    }

    #[test]
    fn an_answer_between_failures_begins_the_count_anew_and_one_thing_counts_once() {
        let mut breaker = Breaker::new(PAUSES);
        for round in 0..10 {
            for number in 1..=4 {
                breaker.hear(Heard::Failure, id(number), Leave::Call, at(round));
            }
            breaker.hear(Heard::Answer, id(9), Leave::Call, at(round));
        }
        for round in 0..100 {
            breaker.hear(Heard::Failure, id(round % 4), Leave::Call, at(10));
        }
        assert!(!breaker.is_open());
    }

    #[test]
    fn what_was_under_way_when_it_opened_neither_lengthens_the_pause_nor_ends_the_probe() {
        let mut breaker = opened();
        for number in 6..20 {
            let change = breaker.hear(Heard::Failure, id(number), Leave::Call, at(4));
            assert_eq!(change, None);
        }
        assert_eq!(breaker.leave(at(5)), Leave::Probe);
        breaker.hear(Heard::Failure, id(20), Leave::Call, at(6));
        assert_eq!(breaker.leave(at(100)), Leave::Wait);
        // But one that is answered late tells as much as a probe.
        let change = breaker.hear(Heard::Answer, id(21), Leave::Call, at(7));
        assert_eq!(change, Some(Change::Closed));
    }

    #[test]
    fn a_probe_that_is_given_back_goes_to_the_next() {
        let mut breaker = opened();
        assert_eq!(breaker.leave(at(5)), Leave::Probe);
        breaker.give_back(Leave::Probe);
        assert_eq!(breaker.leave(at(5)), Leave::Probe);
        breaker.give_back(Leave::Call);
        assert_eq!(breaker.leave(at(5)), Leave::Wait);
    }

    #[test]
    fn it_is_left_in_peace_for_the_longest_that_it_wished() {
        let mut breaker = Breaker::new(PAUSES);
        let wish = |seconds| Heard::Throttled(Duration::from_secs(seconds));
        breaker.hear(wish(30), id(1), Leave::Call, at(0));
        breaker.hear(wish(1), id(2), Leave::Call, at(1));
        assert_eq!(breaker.leave(at(29)), Leave::Wait);
        assert_eq!(breaker.leave(at(30)), Leave::Call);
        breaker.hear(wish(1), id(1), Leave::Call, at(40));
        assert_eq!(breaker.leave(at(41)), Leave::Call);
        // To be throttled is to be answered.
        let mut breaker = opened();
        assert_eq!(breaker.leave(at(5)), Leave::Probe);
        let change = breaker.hear(wish(10), id(1), Leave::Probe, at(5));
        assert_eq!(change, Some(Change::Closed));
        assert_eq!(breaker.leave(at(14)), Leave::Wait);
        assert_eq!(breaker.leave(at(15)), Leave::Call);
    }

    #[test]
    fn a_clock_that_goes_back_ends_every_pause() {
        let mut breaker = opened();
        assert_eq!(
            breaker.leave(START.before(Duration::from_hours(1))),
            Leave::Probe
        );
        let mut breaker = Breaker::new(PAUSES);
        let hour = Heard::Throttled(Duration::from_hours(1));
        breaker.hear(hour, id(1), Leave::Call, START);
        assert_eq!(
            breaker.leave(START.before(Duration::from_hours(9))),
            Leave::Call
        );
    }
}
