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
        assert_eq!(breaker.permit(START), Permit::Call);
        let change = breaker.record(CallOutcome::Failure, id(number), Permit::Call, START);
        assert_eq!(change, (number == 5).then_some(Change::Opened));
    }
    assert!(breaker.is_open());
    breaker
}

#[test]
fn one_call_at_a_time_probes_after_pauses_that_grow_to_a_minute() {
    let mut breaker = opened();
    let mut now = 0;
    for pause in [5, 10, 20, 40, 60, 60, 60] {
        assert_eq!(breaker.permit(at(now + pause - 1)), Permit::Denied);
        assert_eq!(breaker.permit(at(now + pause)), Permit::Probe);
        assert_eq!(breaker.permit(at(now + pause)), Permit::Denied, "one");
        // While the probe is under way, no other is permitted.
        now += pause + 30;
        assert_eq!(breaker.permit(at(now)), Permit::Denied);
        let change = breaker.record(CallOutcome::Failure, id(1), Permit::Probe, at(now));
        assert_eq!(change, None);
    }
    assert_eq!(breaker.permit(at(now + 60)), Permit::Probe);
    let change = breaker.record(CallOutcome::Answer, id(1), Permit::Probe, at(now + 60));
    assert_eq!(change, Some(Change::Closed));
    assert_eq!(breaker.permit(at(now + 60)), Permit::Call);
    assert_eq!(
        breaker.record(CallOutcome::Failure, id(1), Permit::Call, at(now)),
        None
    );
}

#[test]
fn an_answer_resets_the_count_of_failures_and_one_id_counts_once() {
    let mut breaker = Breaker::new(PAUSES);
    for round in 0..10 {
        for number in 1..=4 {
            breaker.record(CallOutcome::Failure, id(number), Permit::Call, at(round));
        }
        breaker.record(CallOutcome::Answer, id(9), Permit::Call, at(round));
    }
    for round in 0..100 {
        breaker.record(CallOutcome::Failure, id(round % 4), Permit::Call, at(10));
    }
    assert!(!breaker.is_open());
}

#[test]
fn what_was_under_way_when_it_opened_neither_lengthens_the_pause_nor_ends_the_probe() {
    let mut breaker = opened();
    for number in 6..20 {
        let change = breaker.record(CallOutcome::Failure, id(number), Permit::Call, at(4));
        assert_eq!(change, None);
    }
    assert_eq!(breaker.permit(at(5)), Permit::Probe);
    breaker.record(CallOutcome::Failure, id(20), Permit::Call, at(6));
    assert_eq!(breaker.permit(at(100)), Permit::Denied);
    // An answer to a call from before the breaker opened also closes it.
    let change = breaker.record(CallOutcome::Answer, id(21), Permit::Call, at(7));
    assert_eq!(change, Some(Change::Closed));
}

#[test]
fn a_probe_that_is_given_back_goes_to_the_next() {
    let mut breaker = opened();
    assert_eq!(breaker.permit(at(5)), Permit::Probe);
    breaker.give_back(Permit::Probe);
    assert_eq!(breaker.permit(at(5)), Permit::Probe);
    breaker.give_back(Permit::Call);
    assert_eq!(breaker.permit(at(5)), Permit::Denied);
}

/// A breaker that permits three probes at once, opened at `START`.
fn opened_with_three_probes() -> Breaker<SubmissionId> {
    let mut breaker = Breaker::with_probes(PAUSES, 3);
    for number in 1..=5 {
        breaker.record(CallOutcome::Failure, id(number), Permit::Call, START);
    }
    breaker
}

#[test]
fn a_round_of_several_probes_lengthens_the_pause_once() {
    let mut breaker = opened_with_three_probes();
    let mut now = 0;
    for pause in [5, 10, 20, 40, 60, 60] {
        assert_eq!(breaker.permit(at(now + pause - 1)), Permit::Denied);
        now += pause;
        for _ in 0..3 {
            assert_eq!(breaker.permit(at(now)), Permit::Probe);
        }
        assert_eq!(breaker.permit(at(now)), Permit::Denied, "three at once");
        for number in 1..=3 {
            breaker.record(CallOutcome::Failure, id(number), Permit::Probe, at(now));
        }
    }
    assert_eq!(breaker.permit(at(now + 60)), Permit::Probe);
    let change = breaker.record(CallOutcome::Answer, id(9), Permit::Probe, at(now + 60));
    assert_eq!(change, Some(Change::Closed));
}

#[test]
fn probes_that_are_still_under_way_leave_room_for_fewer_in_the_next_round() {
    let mut breaker = opened_with_three_probes();
    for _ in 0..3 {
        assert_eq!(breaker.permit(at(5)), Permit::Probe);
    }
    breaker.record(CallOutcome::Failure, id(1), Permit::Probe, at(6));
    assert_eq!(breaker.permit(at(15)), Permit::Denied);
    assert_eq!(breaker.permit(at(16)), Permit::Probe);
    assert_eq!(
        breaker.permit(at(16)),
        Permit::Denied,
        "two are under way still"
    );
    // The other two fail late. They do not lengthen the pause again.
    breaker.record(CallOutcome::Failure, id(2), Permit::Probe, at(17));
    breaker.record(CallOutcome::Failure, id(3), Permit::Probe, at(17));
    assert_eq!(breaker.permit(at(17)), Permit::Probe);
}

#[test]
fn a_back_off_period_stops_all_calls_and_leaves_the_breaker_as_it_is() {
    let mut breaker = Breaker::new(PAUSES);
    breaker.record(CallOutcome::Failure, id(1), Permit::Call, at(0));
    breaker.back_off(Duration::from_secs(30), at(0));
    assert_eq!(breaker.permit(at(29)), Permit::Denied);
    assert_eq!(breaker.permit(at(30)), Permit::Call);
    assert!(breaker.has_failed_since_answer());
}

#[test]
fn of_two_back_off_periods_the_one_that_ends_later_counts() {
    let mut breaker = Breaker::new(PAUSES);
    let throttled = |seconds| CallOutcome::Throttled(Duration::from_secs(seconds));
    breaker.record(throttled(30), id(1), Permit::Call, at(0));
    breaker.record(throttled(1), id(2), Permit::Call, at(1));
    assert_eq!(breaker.permit(at(29)), Permit::Denied);
    assert_eq!(breaker.permit(at(30)), Permit::Call);
    breaker.record(throttled(1), id(1), Permit::Call, at(40));
    assert_eq!(breaker.permit(at(41)), Permit::Call);
    // A throttled call was answered, so it closes the breaker.
    let mut breaker = opened();
    assert_eq!(breaker.permit(at(5)), Permit::Probe);
    let change = breaker.record(throttled(10), id(1), Permit::Probe, at(5));
    assert_eq!(change, Some(Change::Closed));
    assert_eq!(breaker.permit(at(14)), Permit::Denied);
    assert_eq!(breaker.permit(at(15)), Permit::Call);
}

#[test]
fn a_clock_that_goes_back_ends_every_pause() {
    let mut breaker = opened();
    assert_eq!(
        breaker.permit(START.before(Duration::from_hours(1))),
        Permit::Probe
    );
    let mut breaker = Breaker::new(PAUSES);
    let hour = CallOutcome::Throttled(Duration::from_hours(1));
    breaker.record(hour, id(1), Permit::Call, START);
    assert_eq!(
        breaker.permit(START.before(Duration::from_hours(9))),
        Permit::Call
    );
}
