//! Whether EvoLink is to be asked at all. Not while it wants to be left in peace (429). And not while it fails as a whole:
//! then one poll at a time goes to see, after a pause that grows, until there is an answer. Pure.
//!
//! Made here and not taken from a crate: those that were looked at count a share of failures whatever failed, let many
//! calls through to see, pause for one fixed time, and go by a clock that no test can move.

use std::time::Duration;

use crate::domain::ids::SubmissionId;
use crate::domain::timestamp::Timestamp;

/// Tasks that must fail to be answered, and none answered between them, before it is EvoLink that fails. Different ones:
/// what EvoLink cannot answer about one task must not keep it from being asked about others.
const FAILURES: usize = 5;

/// The pause before the first poll that goes to see, and the longest.
const PAUSE_MIN: Duration = Duration::from_secs(5);
const PAUSE_MAX: Duration = Duration::from_mins(1);

#[derive(Debug, Default)]
pub struct Breaker {
    state: State,
    /// Since the last 429.
    peace: Option<Pause>,
}

#[derive(Debug)]
enum State {
    Closed { failed: Vec<SubmissionId> },
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
    Ask,
    /// Ask about one task, to see whether EvoLink is there again. To be given back if it is not used.
    Probe,
    Wait,
}

/// What came of a poll, as far as EvoLink as a whole is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Whatever it says, EvoLink is there.
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

impl Breaker {
    pub fn leave(&mut self, now: Timestamp) -> Leave {
        if self.peace.is_some_and(|peace| !peace.is_over(now)) {
            return Leave::Wait;
        }
        match &mut self.state {
            State::Closed { .. } => Leave::Ask,
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

    /// What came of the poll about `id` for which `leave` was given.
    pub fn hear(
        &mut self,
        heard: Heard,
        id: SubmissionId,
        leave: Leave,
        now: Timestamp,
    ) -> Option<Change> {
        match heard {
            Heard::Answer => self.close(),
            Heard::Throttled(length) => {
                self.leave_in_peace(Pause { from: now, length });
                self.close()
            }
            Heard::Failure => self.fail(id, leave, now),
        }
    }

    /// Whether EvoLink fails as a whole.
    pub const fn is_open(&self) -> bool {
        matches!(self.state, State::Open { .. })
    }

    fn close(&mut self) -> Option<Change> {
        let was_open = self.is_open();
        self.state = State::default();
        was_open.then_some(Change::Closed)
    }

    /// Of two wishes that came together the longer one counts.
    fn leave_in_peace(&mut self, peace: Pause) {
        let ends_later =
            |other: Pause| other.from.after(other.length) > peace.from.after(peace.length);
        let keeps = |other: &Pause| !other.is_over(peace.from) && ends_later(*other);
        self.peace = self.peace.filter(keeps).or(Some(peace));
    }

    fn fail(&mut self, id: SubmissionId, leave: Leave, now: Timestamp) -> Option<Change> {
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
                    length: PAUSE_MIN,
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
                        length: (pause.length * 2).min(PAUSE_MAX),
                    };
                }
                None
            }
        }
    }
}

impl Default for State {
    fn default() -> Self {
        Self::Closed { failed: Vec::new() }
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

    const START: Timestamp = Timestamp::from_millis(1_757_165_031_007);

    fn id(number: u32) -> SubmissionId {
        let text = format!("0199207c-9f7f-7000-8000-{number:012x}");
        text.parse().unwrap()
    }

    fn at(seconds: u64) -> Timestamp {
        START.after(Duration::from_secs(seconds))
    }

    /// One that five tasks have opened at `START`.
    fn opened() -> Breaker {
        let mut breaker = Breaker::default();
        for number in 1..=5 {
            assert_eq!(breaker.leave(START), Leave::Ask);
            let change = breaker.hear(Heard::Failure, id(number), Leave::Ask, START);
            assert_eq!(change, (number == 5).then_some(Change::Opened));
        }
        assert!(breaker.is_open());
        breaker
    }

    #[test]
    fn one_poll_at_a_time_goes_to_see_after_pauses_that_grow_to_a_minute() {
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
        assert_eq!(breaker.leave(at(now + 60)), Leave::Ask);
        assert_eq!(
            breaker.hear(Heard::Failure, id(1), Leave::Ask, at(now)),
            None
        );
    }

    #[test]
    fn an_answer_between_failures_begins_the_count_anew_and_one_task_counts_once() {
        let mut breaker = Breaker::default();
        for round in 0..10 {
            for number in 1..=4 {
                breaker.hear(Heard::Failure, id(number), Leave::Ask, at(round));
            }
            breaker.hear(Heard::Answer, id(9), Leave::Ask, at(round));
        }
        for round in 0..100 {
            breaker.hear(Heard::Failure, id(round % 4), Leave::Ask, at(10));
        }
        assert!(!breaker.is_open());
    }

    #[test]
    fn what_was_under_way_when_it_opened_neither_lengthens_the_pause_nor_ends_the_probe() {
        let mut breaker = opened();
        for number in 6..20 {
            let change = breaker.hear(Heard::Failure, id(number), Leave::Ask, at(4));
            assert_eq!(change, None);
        }
        assert_eq!(breaker.leave(at(5)), Leave::Probe);
        breaker.hear(Heard::Failure, id(20), Leave::Ask, at(6));
        assert_eq!(breaker.leave(at(100)), Leave::Wait);
        // But one that is answered late tells as much as a probe.
        let change = breaker.hear(Heard::Answer, id(21), Leave::Ask, at(7));
        assert_eq!(change, Some(Change::Closed));
    }

    #[test]
    fn a_probe_that_is_given_back_goes_to_the_next() {
        let mut breaker = opened();
        assert_eq!(breaker.leave(at(5)), Leave::Probe);
        breaker.give_back(Leave::Probe);
        assert_eq!(breaker.leave(at(5)), Leave::Probe);
        breaker.give_back(Leave::Ask);
        assert_eq!(breaker.leave(at(5)), Leave::Wait);
    }

    #[test]
    fn evolink_is_left_in_peace_for_the_longest_that_it_wished() {
        let mut breaker = Breaker::default();
        let wish = |seconds| Heard::Throttled(Duration::from_secs(seconds));
        breaker.hear(wish(30), id(1), Leave::Ask, at(0));
        breaker.hear(wish(1), id(2), Leave::Ask, at(1));
        assert_eq!(breaker.leave(at(29)), Leave::Wait);
        assert_eq!(breaker.leave(at(30)), Leave::Ask);
        breaker.hear(wish(1), id(1), Leave::Ask, at(40));
        assert_eq!(breaker.leave(at(41)), Leave::Ask);
        // To be throttled is to be answered.
        let mut breaker = opened();
        assert_eq!(breaker.leave(at(5)), Leave::Probe);
        let change = breaker.hear(wish(10), id(1), Leave::Probe, at(5));
        assert_eq!(change, Some(Change::Closed));
        assert_eq!(breaker.leave(at(14)), Leave::Wait);
        assert_eq!(breaker.leave(at(15)), Leave::Ask);
    }

    #[test]
    fn a_clock_that_goes_back_ends_every_pause() {
        let mut breaker = opened();
        assert_eq!(
            breaker.leave(START.before(Duration::from_hours(1))),
            Leave::Probe
        );
        let mut breaker = Breaker::default();
        let hour = Heard::Throttled(Duration::from_hours(1));
        breaker.hear(hour, id(1), Leave::Ask, START);
        assert_eq!(
            breaker.leave(START.before(Duration::from_hours(9))),
            Leave::Ask
        );
    }
}
