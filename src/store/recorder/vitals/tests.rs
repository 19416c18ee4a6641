use super::*;

#[test]
fn what_is_no_entrys_fault_counts_until_a_transaction_succeeds() {
    let vitals = Vitals::default();
    assert_eq!(vitals.writing(), Writing::Works { last: None });
    let of_an_entry = StoreError::Corrupt {
        table: "task",
        id: 1,
        column: "state",
    };
    assert!(!vitals.failed(&of_an_entry));
    assert_eq!(vitals.writing(), Writing::Works { last: None });
    assert!(vitals.failed(&StoreError::Full), "the first");
    assert!(!vitals.failed(&StoreError::TooSlow), "not the first");
    let Writing::Fails { reason, .. } = vitals.writing() else {
        panic!("{:?}", vitals.writing());
    };
    assert!(reason.starts_with("the database took too long"), "{reason}");
    assert!(vitals.succeeded().is_some());
    assert!(vitals.succeeded().is_none());
    assert!(matches!(vitals.writing(), Writing::Works { last: Some(_) }));
}

#[test]
fn a_lock_has_its_own_reason_and_its_time_grows_until_a_success() {
    let (vitals, ago) = (Vitals::default(), Duration::from_mins(1));
    let long_ago = Instant::now().checked_sub(ago).unwrap();
    vitals.begins(long_ago);
    assert!(vitals.failed(&StoreError::Locked));
    // The next step waits for the same lock.
    for since in [
        Instant::now(),
        Instant::now().checked_sub(STUCK_AFTER).unwrap(),
    ] {
        vitals.begins(since);
        vitals.failed(&StoreError::Locked);
        let Writing::Fails { reason, lasting } = vitals.writing() else {
            panic!("{:?}", vitals.writing());
        };
        assert!(
            reason.contains("another program holds the write lock"),
            "{reason}"
        );
        assert!(lasting >= ago, "{lasting:?}");
    }
    vitals.succeeded();
    vitals.rests();
    assert!(matches!(vitals.writing(), Writing::Works { .. }));
    assert!(vitals.failed(&StoreError::Locked), "it begins again");
    assert!(matches!(vitals.writing(), Writing::Fails { lasting, .. } if lasting < ago));
}

#[test]
fn a_step_that_takes_long_is_stuck() {
    let vitals = Vitals::default();
    let long_ago = Instant::now().checked_sub(STUCK_AFTER).unwrap();
    vitals.begins(Instant::now());
    assert!(matches!(vitals.writing(), Writing::Works { .. }));
    vitals.begins(long_ago);
    assert!(matches!(vitals.writing(), Writing::Stuck { .. }));
    vitals.rests();
    assert!(matches!(vitals.writing(), Writing::Works { .. }));
}

#[test]
fn a_probe_is_made_only_where_nothing_was_recorded_lately_and_not_often() {
    let vitals = Vitals::default();
    assert!(vitals.begins_probe());
    assert!(!vitals.begins_probe(), "too soon");
    let vitals = Vitals::default();
    vitals.succeeded();
    assert!(!vitals.begins_probe(), "it has recorded");
    vitals.failed(&StoreError::Full);
    assert!(vitals.begins_probe(), "it has failed");
    let vitals = Vitals::default();
    vitals.begins(Instant::now());
    assert!(!vitals.begins_probe(), "it is busy");
}

#[test]
fn a_probe_does_not_end_a_failure_that_it_cannot_find() {
    let vitals = Vitals::default();
    assert!(vitals.is_judged_by_probe(None), "nothing failed");
    vitals.failed(&StoreError::TooSlow);
    assert!(vitals.is_judged_by_probe(None), "it waits for locks too");
    vitals.failed(&StoreError::Full);
    assert!(!vitals.is_judged_by_probe(None), "it writes nothing");
    assert!(!vitals.is_judged_by_probe(Some(false)));
    assert!(
        vitals.is_judged_by_probe(Some(true)),
        "there is space again"
    );
    let long_ago = Instant::now().checked_sub(UNPROBED_MAX).unwrap();
    vitals.with(|state| state.failure.as_mut().unwrap().seen_at = long_ago);
    assert!(
        vitals.is_judged_by_probe(None),
        "no batch has failed for long"
    );
}
