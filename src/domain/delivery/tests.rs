use super::*;
use crate::domain::reason;

const NOW: Timestamp = Timestamp::from_millis(1_757_165_031_007);
const YEARS: Duration = Duration::from_hours(10 * 365 * 24);

fn delivery() -> Delivery {
    Delivery {
        id: DeliveryId(1024),
        endpoint: EndpointKey::standing("billing"),
        state: DeliveryState::Pending,
        attempts: 0,
        due_at: NOW,
        lease: None,
        last_status: None,
        last_error: None,
        ended_at: None,
    }
}

fn failed() -> AttemptEnd {
    AttemptEnd::Failed {
        status: Some(500),
        reason: "500".to_owned(),
        retry_after: None,
    }
}

fn refused(reason: &str) -> AttemptEnd {
    let reason = reason.to_owned();
    AttemptEnd::Refused { reason }
}

fn holders() -> (Holder, Holder) {
    (Holder::parse("me"), Holder::parse("you"))
}

/// Claims the delivery for `holder` and ends the attempt with a failure. A jitter of 0.5 makes the
/// gap average.
fn fail(delivery: &mut Delivery, holder: &Holder, now: Timestamp) -> Option<DeliveryState> {
    assert!(delivery.claim(holder, LEASE, now, true), "{delivery:?}");
    delivery.end(holder, delivery.attempts + 1, &failed(), 0.5, now)
}

#[test]
fn ten_attempts_are_made_in_a_day_and_then_it_is_dead() {
    let (me, _) = holders();
    let (mut delivery, mut now, mut gaps) = (delivery(), NOW, Vec::new());
    while fail(&mut delivery, &me, now) == Some(DeliveryState::Pending) {
        assert!(!delivery.claim(&me, LEASE, now, true), "before it is due");
        gaps.push(delivery.due_at.since(now).as_secs());
        now = delivery.due_at;
    }
    assert_eq!(gaps, [1, 5, 30, 120, 600, 3600, 10_800, 28_800, 43_200]);
    assert_eq!(delivery.attempts, schedule::ATTEMPTS_MAX);
    assert_eq!(delivery.state, DeliveryState::Dead);
    assert_eq!(
        (delivery.ended_at, delivery.lease.clone()),
        (Some(now), None)
    );
    assert_eq!(delivery.last_error.as_deref(), Some("500"));
    assert!(!delivery.claim(&me, LEASE, now.after(YEARS), true));
    // An operator retries it, so all attempts are available again.
    assert!(delivery.retry(now));
    assert_eq!((delivery.attempts, delivery.ended_at), (0, None));
    assert_eq!(fail(&mut delivery, &me, now), Some(DeliveryState::Pending));
}

#[test]
fn a_lease_keeps_others_away_until_it_is_over_or_no_plan_of_ours() {
    let (me, you) = holders();
    let mut taken = delivery();
    assert!(taken.claim(&me, LEASE, NOW, true));
    assert!(taken.claim(&me, LEASE, NOW, true), "it is its own");
    assert!(!taken.clone().claim(&you, LEASE, NOW, true));
    assert!(!taken.clone().claim(&you, LEASE, NOW.after(LEASE / 2), true));
    assert!(taken.clone().claim(&you, LEASE, NOW.after(LEASE), true));
    assert!(
        taken.clone().claim(&you, LEASE, NOW, false),
        "nobody else can be there"
    );
    // The clock was ten years ahead when the delivery was claimed.
    let mut ahead = delivery();
    assert!(ahead.claim(&me, LEASE, NOW.after(YEARS), true));
    assert!(ahead.claim(&you, LEASE, NOW, true));
    // The clock was ten years ahead when the next attempt was scheduled.
    let mut ahead = delivery();
    fail(&mut ahead, &me, NOW.after(YEARS));
    assert!(ahead.claim(&you, LEASE, NOW, true));
    let mut ahead = delivery();
    ahead.claim(&me, Duration::MAX, NOW, true);
    assert!(ahead.claim(&you, LEASE, NOW.after(LEASE_MAX), true));
}

#[test]
fn a_result_counts_once_and_only_from_the_lease_holder() {
    let (me, you) = holders();
    let mut twice = delivery();
    assert!(twice.claim(&me, LEASE, NOW, true));
    let first = twice.end(&me, 1, &failed(), 0.5, NOW);
    assert_eq!(first, Some(DeliveryState::Pending));
    let told = twice.clone();
    assert_eq!(twice.end(&me, 1, &failed(), 0.5, NOW), None, "told again");
    assert_eq!(twice, told);
    // The outcome is reported again after the next attempt has begun. This happens after an error
    // that left open whether it was written.
    assert!(twice.claim(&me, LEASE, twice.due_at, true));
    assert_eq!(
        twice.end(&me, 1, &failed(), 0.5, NOW),
        None,
        "the second is under way"
    );
    assert!(twice.lease.is_some());
    // Another process has claimed the delivery since, so only that process's outcome counts.
    let mut lost = delivery();
    assert!(lost.claim(&me, LEASE, NOW, true));
    assert!(lost.claim(&you, LEASE, NOW.after(LEASE), true));
    for end in [failed(), AttemptEnd::GivenBack] {
        assert_eq!(lost.end(&me, 1, &end, 0.5, NOW), None, "{end:?}");
    }
    // An operator has retried the delivery.
    let mut dead = delivery();
    assert!(dead.claim(&me, LEASE, NOW, true));
    dead.end(&me, 1, &refused("no"), 0.5, NOW);
    assert!(dead.retry(NOW));
    assert_eq!(dead.end(&me, 1, &refused("no"), 0.5, NOW), None);
}

#[test]
fn a_success_counts_from_any_sender_and_is_final() {
    let (me, you) = holders();
    let ok = AttemptEnd::Delivered { status: 204 };
    let mut late = delivery();
    assert!(late.claim(&me, LEASE, NOW, true));
    assert!(late.claim(&you, LEASE, NOW.after(LEASE), true));
    late.end(&you, 1, &refused("no"), 0.5, NOW);
    assert_eq!(late.state, DeliveryState::Dead);
    assert_eq!(
        late.end(&me, 1, &ok, 0.5, NOW),
        Some(DeliveryState::Delivered)
    );
    assert_eq!(
        (late.last_status, late.last_error.as_deref()),
        (Some(204), None)
    );
    let delivered = late.clone();
    for end in [ok, failed(), AttemptEnd::GivenBack] {
        assert_eq!(late.end(&you, 1, &end, 0.5, NOW.after(YEARS)), None);
    }
    assert!(!late.retry(NOW) && !late.claim(&me, LEASE, NOW, false));
    assert_eq!(late, delivered);
}

#[test]
fn what_is_never_sent_is_dead_and_no_attempt() {
    let (me, _) = holders();
    let refused = refused(&format!("no\nline\0{}", "x".repeat(500)));
    let mut delivery = delivery();
    assert!(delivery.claim(&me, LEASE, NOW, true));
    delivery.end(&me, 1, &refused, 0.5, NOW);
    assert_eq!(
        (delivery.state, delivery.attempts),
        (DeliveryState::Dead, 0)
    );
    let error = delivery.last_error.unwrap();
    assert!(
        error.starts_with("no line x") && error.len() == reason::CHARS_MAX,
        "{error}"
    );
}

#[test]
fn a_held_delivery_dies_once_it_has_been_due_for_three_days() {
    let (me, _) = holders();
    let mut held = delivery();
    fail(&mut held, &me, NOW);
    let due = held.due_at;
    assert!(!held.expire(due.after(HELD_MAX.saturating_sub(Duration::from_millis(1)))));
    assert_eq!(held.state, DeliveryState::Pending);
    let end = due.after(HELD_MAX);
    assert!(held.expire(end));
    assert_eq!(
        (held.state, held.ended_at, held.lease.clone()),
        (DeliveryState::Dead, Some(end), None)
    );
    assert!(!held.expire(end), "once");
    // After an operator's retry, it may be held for another three days.
    assert!(held.retry(end));
    assert!(!held.expire(end.after(HELD_MAX / 2)));
}

#[test]
fn an_operator_brings_a_pending_one_forward_and_leaves_its_sender_alone() {
    let (me, you) = holders();
    let mut waiting = delivery();
    fail(&mut waiting, &me, NOW);
    assert!(!waiting.claim(&you, LEASE, NOW, true));
    assert!(waiting.retry(NOW));
    assert_eq!(waiting.attempts, 1);
    assert!(waiting.claim(&you, LEASE, NOW, true));
    assert!(waiting.retry(NOW));
    assert!(!waiting.claim(&me, LEASE, NOW, true));
}

#[test]
fn a_name_and_an_origin_are_never_taken_for_each_other() {
    let of = EndpointKey::of_address;
    assert_eq!(
        of("https://a.example:443/x?k=1").as_str(),
        "https://a.example"
    );
    assert_eq!(of("http://u.lan:8000/x").as_str(), "http://u.lan:8000");
    assert_eq!(of("http://[::1]:1/").as_str(), "http://[::1]:1");
    assert!(!of("http://billing/").is_standing());
    assert!(EndpointKey::standing("billing").is_standing());
}
