use super::*;

#[test]
fn a_store_failure_lasts_until_a_transaction_succeeds() {
    let health = RecorderHealth::default();
    assert_eq!(health.writing(), WriteState::Working { last: None });
    let of_an_entry = StoreError::Corrupt {
        table: "task",
        id: 1,
        column: "state",
    };
    assert!(!health.failed(&of_an_entry));
    assert_eq!(health.writing(), WriteState::Working { last: None });
    assert!(health.failed(&StoreError::Full), "the first");
    assert!(!health.failed(&StoreError::TooSlow), "not the first");
    let WriteState::Failing { reason, .. } = health.writing() else {
        panic!("{:?}", health.writing());
    };
    assert!(
        reason.starts_with("the database exceeded its time limit"),
        "{reason}"
    );
    assert!(health.succeeded().is_some());
    assert!(health.succeeded().is_none());
    assert!(matches!(
        health.writing(),
        WriteState::Working { last: Some(_) }
    ));
}

#[test]
fn a_lock_has_its_own_reason_and_its_time_grows_until_a_success() {
    let (health, ago) = (RecorderHealth::default(), Duration::from_mins(1));
    let long_ago = Instant::now().checked_sub(ago).unwrap();
    health.step_started(long_ago);
    assert!(health.failed(&StoreError::Locked));
    // The next step waits for the same lock.
    for since in [
        Instant::now(),
        Instant::now().checked_sub(STUCK_AFTER).unwrap(),
    ] {
        health.step_started(since);
        health.failed(&StoreError::Locked);
        let WriteState::Failing { reason, lasting } = health.writing() else {
            panic!("{:?}", health.writing());
        };
        assert!(
            reason.contains("another program holds the write lock"),
            "{reason}"
        );
        assert!(lasting >= ago, "{lasting:?}");
    }
    health.succeeded();
    health.became_idle();
    assert!(matches!(health.writing(), WriteState::Working { .. }));
    assert!(health.failed(&StoreError::Locked), "it begins again");
    assert!(matches!(health.writing(), WriteState::Failing { lasting, .. } if lasting < ago));
}

#[test]
fn a_step_that_takes_long_is_stuck() {
    let health = RecorderHealth::default();
    let long_ago = Instant::now().checked_sub(STUCK_AFTER).unwrap();
    health.step_started(Instant::now());
    assert!(matches!(health.writing(), WriteState::Working { .. }));
    health.step_started(long_ago);
    assert!(matches!(health.writing(), WriteState::Stuck { .. }));
    health.became_idle();
    assert!(matches!(health.writing(), WriteState::Working { .. }));
}

#[test]
fn a_probe_is_made_only_where_nothing_was_recorded_lately_and_not_often() {
    let health = RecorderHealth::default();
    assert!(health.starts_probe());
    assert!(!health.starts_probe(), "too soon");
    let health = RecorderHealth::default();
    health.succeeded();
    assert!(!health.starts_probe(), "it has recorded");
    health.failed(&StoreError::Full);
    assert!(health.starts_probe(), "it has failed");
    let health = RecorderHealth::default();
    health.step_started(Instant::now());
    assert!(!health.starts_probe(), "it is busy");
}

#[test]
fn a_probe_does_not_end_a_failure_that_it_cannot_find() {
    let health = RecorderHealth::default();
    assert!(health.is_cleared_by_probe(None), "nothing failed");
    health.failed(&StoreError::TooSlow);
    assert!(health.is_cleared_by_probe(None), "it waits for locks too");
    health.failed(&StoreError::Full);
    assert!(!health.is_cleared_by_probe(None), "it writes nothing");
    assert!(!health.is_cleared_by_probe(Some(false)));
    assert!(
        health.is_cleared_by_probe(Some(true)),
        "there is space again"
    );
    let long_ago = Instant::now().checked_sub(UNPROBED_MAX).unwrap();
    health.with(|state| state.failure.as_mut().unwrap().seen_at = long_ago);
    assert!(
        health.is_cleared_by_probe(None),
        "no batch has failed for long"
    );
}
