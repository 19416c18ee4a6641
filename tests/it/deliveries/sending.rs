//! Which process may send a delivery, and what the result does to it: the forwarder's view.

use super::*;

#[tokio::test]
async fn what_was_just_made_is_sent_by_its_process_without_another_commit() {
    let desk = Desk::open().await;
    let ids = desk.outcome("task-1", "failed", Some(OWN)).await;
    let work = desk.store.list_endpoints_with_work(None, 10).await.unwrap();
    let names: Vec<&str> = work.iter().map(|work| work.endpoint.as_str()).collect();
    assert_eq!(names, ["all", "bad", OWN_ORIGIN]);
    assert!(
        work.iter()
            .all(|work| (work.first_due, work.last_due) == (START, START))
    );
    let after = desk
        .store
        .list_endpoints_with_work(Some(&work[0].endpoint), 1)
        .await
        .unwrap();
    assert_eq!(after, work[1..2]);
    let due = desk.due_whole(OWN_ORIGIN).await;
    assert_eq!(due.len(), 1);
    assert_eq!(
        (due[0].id.0, due[0].url.as_deref(), due[0].attempts),
        (ids[2], Some(OWN), 0)
    );
    assert_eq!(due[0].held_until, Some(START.after(LEASE)));
    assert_eq!(due[0].event_id.seq, ids[2] / 1024);
    assert_eq!(
        desk.end(ids[2], 1, OK).await,
        Receipt::Delivery(DeliveryState::Delivered)
    );
    assert_eq!(desk.due(OWN_ORIGIN).await, NONE);
    assert_eq!(desk.state(ids[2]).await, ("delivered".to_owned(), 1, None));
    // A repeated success, and then a failure, change nothing.
    assert_eq!(desk.end(ids[2], 1, OK).await, Receipt::Stale);
    assert_eq!(desk.end(ids[2], 2, failed()).await, Receipt::Stale);
    assert_eq!(desk.end(ids[2] + 500, 1, OK).await, Receipt::Stale);
    assert_eq!(desk.retry(ids[2]).await, Receipt::Delivered);
    assert_eq!(desk.state(ids[2]).await, ("delivered".to_owned(), 1, None));
}

#[tokio::test]
async fn a_failure_is_tried_again_when_its_time_has_come_until_it_is_dead() {
    let desk = Desk::open().await;
    let id = desk.outcome("task-1", "completed", None).await[0];
    for attempt in 1..=10 {
        assert_eq!(desk.due("all").await, [id], "{attempt}");
        if attempt > 1 {
            let due = desk.due_whole("all").await;
            assert_eq!(due[0].held_until, None);
            assert_eq!(desk.claim(id).await, Receipt::Done);
        }
        let told = desk.end(id, attempt, failed()).await;
        assert_eq!(
            desk.end(id, attempt, failed()).await,
            Receipt::Stale,
            "told again"
        );
        let state = if attempt < 10 {
            DeliveryState::Pending
        } else {
            DeliveryState::Dead
        };
        assert_eq!(told, Receipt::Delivery(state), "{attempt}");
        assert_eq!(desk.due("all").await, NONE, "{attempt}");
        assert_eq!(desk.claim(id).await, Receipt::NotDue, "{attempt}");
        let due: i64 = desk
            .database
            .value("SELECT due_at FROM delivery", &[])
            .await;
        let wait = u64::try_from(due - desk.clock.now().as_millis()).unwrap_or(0);
        desk.clock.advance(Duration::from_millis(wait));
    }
    assert_eq!(
        desk.state(id).await,
        ("dead".to_owned(), 10, Some("503".to_owned()))
    );
    assert_eq!(
        desk.store.list_endpoints_with_work(None, 10).await.unwrap(),
        []
    );
    let numbers = async || {
        let failed = desk.store.list_failed_attempts(DeliveryId(id)).await;
        let failed = failed.unwrap();
        assert!(failed.iter().all(|attempt| attempt.status == Some(503)));
        let numbers = failed.into_iter().map(|attempt| attempt.number);
        numbers.collect::<Vec<u32>>()
    };
    assert_eq!(numbers().await, (1..=10).collect::<Vec<u32>>());
    desk.clock.advance(Duration::from_millis(1));
    assert_eq!(desk.retry(id).await, Receipt::Done);
    assert_eq!(desk.state(id).await.0, "pending");
    assert_eq!(
        (desk.due("all").await, desk.claim(id).await),
        (vec![id], Receipt::Done)
    );
    let receipt = desk.end(id, 1, failed()).await;
    assert_eq!(
        receipt,
        Receipt::Delivery(DeliveryState::Pending),
        "ten more"
    );
    let shown = numbers().await;
    assert_eq!(shown, [2, 3, 4, 5, 6, 7, 8, 9, 10, 1], "by their time");
}

#[tokio::test]
async fn a_plan_of_a_clock_that_was_years_ahead_is_due() {
    let desk = Desk::open().await;
    let id = desk.outcome("task-1", "completed", None).await[0];
    let years = Duration::from_hours(10 * 365 * 24);
    desk.clock.advance(years);
    desk.end(id, 1, failed()).await;
    let (home, _) = desk.close().await;
    let desk = Desk::on(home, standing(), Clock::manual(START)).await;
    assert_eq!(desk.due("all").await, [id]);
    let work = desk.store.list_endpoints_with_work(None, 10).await.unwrap();
    assert!(schedule::is_due(work[0].last_due, START));
    assert_eq!(desk.claim(id).await, Receipt::Done);
    assert_eq!(
        desk.end(id, 2, OK).await,
        Receipt::Delivery(DeliveryState::Delivered)
    );
}

/// On SQLite no other process can hold a lease after a restart. On PostgreSQL one may.
#[tokio::test]
async fn what_another_process_has_taken_is_its_own_until_its_lease_is_over() {
    let desk = Desk::open().await;
    let id = desk.outcome("task-1", "completed", None).await[0];
    let (home, clock) = desk.close().await;
    let desk = Desk::on(home, standing(), clock).await;
    let shared = desk.database.is_postgres();
    let due = desk.due("all").await;
    assert_eq!(due.is_empty(), shared, "{due:?}");
    if shared {
        assert_eq!(desk.claim(id).await, Receipt::NotDue);
        desk.clock.advance(LEASE.saturating_sub(SECOND));
        assert_eq!(desk.claim(id).await, Receipt::NotDue);
        desk.clock.advance(SECOND);
    }
    let due = desk.due_whole("all").await;
    assert_eq!((due[0].id.0, due[0].held_until), (id, None));
    assert_eq!(
        desk.end(id, 1, failed()).await,
        Receipt::Stale,
        "it is not taken yet"
    );
    assert_eq!(desk.claim(id).await, Receipt::Done);
    let due = desk.due_whole("all").await;
    assert_eq!(due[0].held_until, Some(desk.clock.now().after(LEASE)));
    assert_eq!(
        desk.end(id, 1, OK).await,
        Receipt::Delivery(DeliveryState::Delivered)
    );
}

/// The names of disabled endpoints.
async fn disabled(desk: &Desk) -> Vec<String> {
    let disabled = desk.store.list_disabled_endpoints().await.unwrap();
    disabled.iter().map(|one| one.name.to_string()).collect()
}

#[tokio::test]
async fn answers_of_410_to_three_deliveries_over_five_minutes_disable_a_standing_endpoint() {
    let desk = Desk::open().await;
    let pending = Receipt::Delivery(DeliveryState::Pending);
    let first = desk.outcome("task-1", "failed", Some(OWN)).await;
    for id in &first {
        assert_eq!(desk.end(*id, 1, gone()).await, pending);
    }
    let second = desk.outcome("task-2", "failed", Some(OWN)).await;
    for id in &second {
        assert_eq!(desk.end(*id, 1, gone()).await, pending);
    }
    desk.clock.advance(200 * SECOND);
    // Another process continues with what this one has recorded.
    let (home, clock) = desk.close().await;
    let desk = Desk::on(home, standing(), clock).await;
    // A 2xx discards the earlier 410 answers of `bad`.
    let third = desk.outcome("task-3", "failed", Some(OWN)).await;
    let delivered = Receipt::Delivery(DeliveryState::Delivered);
    assert_eq!(desk.end(third[1], 1, OK).await, delivered);
    desk.clock.advance(100 * SECOND);
    assert_eq!(disabled(&desk).await, [""; 0]);
    let fourth = desk.outcome("task-4", "failed", Some(OWN)).await;
    for id in &fourth {
        assert_eq!(desk.end(*id, 1, gone()).await, pending);
    }
    // An app's own address is not disabled either: other apps have addresses at the same host.
    assert_eq!(disabled(&desk).await, ["all"]);
    let gone_rows = "SELECT count(*) FROM endpoint_gone WHERE name <> 'bad'";
    assert_eq!(desk.database.value::<i64>(gone_rows, &[]).await, 0);
    let error = Some("410".to_owned());
    assert_eq!(
        desk.state(fourth[0]).await,
        ("pending".to_owned(), 1, error)
    );
}

#[tokio::test]
async fn a_disabled_endpoint_is_enabled_by_a_retry_and_by_a_2xx() {
    let desk = Desk::open().await;
    let disable = "INSERT INTO endpoint (name, disabled_at, reason) VALUES ('all', 1, '410')";
    let pending = Receipt::Delivery(DeliveryState::Pending);
    let delivered = Receipt::Delivery(DeliveryState::Delivered);
    let ids = desk.outcome("task-1", "failed", None).await;
    desk.database.execute(disable).await;
    // Another endpoint's answer does not enable it, and neither does a failure that is not a 410.
    assert_eq!(desk.end(ids[1], 1, OK).await, delivered);
    assert_eq!(desk.end(ids[0], 1, failed()).await, pending);
    assert_eq!(disabled(&desk).await, ["all"]);
    assert_eq!(desk.retry(ids[0]).await, Receipt::Done);
    assert_eq!(disabled(&desk).await, [""; 0]);
    // An attempt was running when the endpoint was disabled.
    desk.database.execute(disable).await;
    assert_eq!(desk.claim(ids[0]).await, Receipt::Done);
    assert_eq!(desk.end(ids[0], 2, OK).await, delivered);
    assert_eq!(disabled(&desk).await, [""; 0]);
    // Both in one batch, in this order.
    let next = desk.outcome("task-2", "failed", None).await;
    desk.database.execute(disable).await;
    let (retried, answered) = tokio::join!(desk.retry(next[0]), desk.end(next[0], 1, gone()));
    assert_eq!((retried, answered), (Receipt::Done, pending));
    assert_eq!(disabled(&desk).await, [""; 0]);
    let suspected = "SELECT count(*) FROM endpoint_gone";
    assert_eq!(desk.database.value::<i64>(suspected, &[]).await, 1);
}

#[tokio::test]
async fn only_deliveries_that_a_disabled_endpoint_has_held_for_three_days_expire() {
    let desk = Desk::open().await;
    let old = desk.outcome("task-1", "failed", None).await;
    desk.clock.advance(HELD_MAX);
    let new = desk.outcome("task-2", "failed", None).await;
    let expired = || Entry::HeldExpired {
        endpoint: EndpointKey::standing("all"),
    };
    assert_eq!(
        desk.record(expired()).await,
        Receipt::Stale,
        "it is enabled"
    );
    let disable = "INSERT INTO endpoint (name, disabled_at, reason) VALUES ('all', 1, '410')";
    desk.database.execute(disable).await;
    assert_eq!(desk.record(expired()).await, Receipt::Done);
    assert_eq!(desk.state(old[0]).await.0, "dead");
    for id in [old[1], new[0]] {
        assert_eq!(desk.state(id).await.0, "pending");
    }
}

#[tokio::test]
async fn all_dead_ones_are_retried_a_bounded_number_at_a_time() {
    let desk = Desk::open().await;
    let refused = || AttemptEnd::Refused {
        reason: "its host is not allowed any more".to_owned(),
    };
    let mut of_all = Vec::new();
    for number in 0..7 {
        let ids = desk
            .outcome(&format!("task-{number}"), "failed", None)
            .await;
        desk.end(ids[0], 1, refused()).await;
        desk.end(ids[1], 1, refused()).await;
        of_all.push(ids[0]);
    }
    let retry = async |endpoint: Option<&str>, limit| {
        let endpoint = endpoint.map(EndpointKey::parse);
        desk.record(Entry::DeliveriesRetried { endpoint, limit })
            .await
    };
    let retried = |deliveries, more| Receipt::Retried {
        deliveries,
        enabled: false,
        more,
    };
    assert_eq!(retry(Some("all"), 3).await, retried(3, true));
    assert_eq!(desk.due("all").await, of_all[..3], "the oldest first");
    // Two retries in one batch share the dead deliveries that are left.
    let both = tokio::join!(retry(Some("all"), 3), retry(Some("all"), 3));
    assert_eq!(both, (retried(3, true), retried(1, false)));
    assert_eq!(desk.due("all").await, of_all);
    assert_eq!(desk.due("bad").await, NONE);
    assert_eq!(retry(None, 100).await, retried(7, false));
    assert_eq!(retry(None, 100).await, retried(0, false));
    let dead: i64 = desk
        .database
        .value(
            "SELECT count(*) FROM delivery WHERE state = 'dead' OR attempts > 0",
            &[],
        )
        .await;
    assert_eq!(dead, 0);
}
