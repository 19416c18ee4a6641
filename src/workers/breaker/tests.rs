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

/// A breaker that five failures opened at `START`.
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
        // While the probe is under way, no other is permitted.
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
    // An answer to a call from before the breaker opened also closes it.
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

/// A breaker that permits three probes at once, opened at `START`.
fn opened_with_three_probes() -> Breaker<SubmissionId> {
    let mut breaker = Breaker::with_probes(PAUSES, 3);
    for number in 1..=5 {
        breaker.hear(Heard::Failure, id(number), Leave::Call, START);
    }
    breaker
}

#[test]
fn a_round_of_several_probes_lengthens_the_pause_once() {
    let mut breaker = opened_with_three_probes();
    let mut now = 0;
    for pause in [5, 10, 20, 40, 60, 60] {
        assert_eq!(breaker.leave(at(now + pause - 1)), Leave::Wait);
        now += pause;
        for _ in 0..3 {
            assert_eq!(breaker.leave(at(now)), Leave::Probe);
        }
        assert_eq!(breaker.leave(at(now)), Leave::Wait, "three at once");
        for number in 1..=3 {
            breaker.hear(Heard::Failure, id(number), Leave::Probe, at(now));
        }
    }
    assert_eq!(breaker.leave(at(now + 60)), Leave::Probe);
    let change = breaker.hear(Heard::Answer, id(9), Leave::Probe, at(now + 60));
    assert_eq!(change, Some(Change::Closed));
}

#[test]
fn probes_that_are_still_under_way_leave_room_for_fewer_in_the_next_round() {
    let mut breaker = opened_with_three_probes();
    for _ in 0..3 {
        assert_eq!(breaker.leave(at(5)), Leave::Probe);
    }
    breaker.hear(Heard::Failure, id(1), Leave::Probe, at(6));
    assert_eq!(breaker.leave(at(15)), Leave::Wait);
    assert_eq!(breaker.leave(at(16)), Leave::Probe);
    assert_eq!(
        breaker.leave(at(16)),
        Leave::Wait,
        "two are under way still"
    );
    // The other two fail late. They do not lengthen the pause again.
    breaker.hear(Heard::Failure, id(2), Leave::Probe, at(17));
    breaker.hear(Heard::Failure, id(3), Leave::Probe, at(17));
    assert_eq!(breaker.leave(at(17)), Leave::Probe);
}

#[test]
fn a_back_off_period_stops_all_calls_and_leaves_the_breaker_as_it_is() {
    let mut breaker = Breaker::new(PAUSES);
    breaker.hear(Heard::Failure, id(1), Leave::Call, at(0));
    breaker.back_off(Duration::from_secs(30), at(0));
    assert_eq!(breaker.leave(at(29)), Leave::Wait);
    assert_eq!(breaker.leave(at(30)), Leave::Call);
    assert!(breaker.is_in_doubt());
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
    // A throttled call was answered, so it closes the breaker.
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
