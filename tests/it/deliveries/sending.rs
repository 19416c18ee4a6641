//! Who may send what, and what becomes of it: as the forwarder asks and tells.

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
    // Told once more, and after that of a failure: it stays.
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

/// After a restart nobody is there who could have a lease on a SQLite store; on PostgreSQL there may be.
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

#[tokio::test]
async fn an_endpoint_that_answers_410_is_disabled_until_an_operator_has_something_sent_to_it() {
    let desk = Desk::open().await;
    let first = desk.outcome("task-1", "failed", Some(OWN)).await;
    let second = desk.outcome("task-2", "failed", Some(OWN)).await;
    let gone = AttemptEnd::Gone { status: 410 };
    let dead = Receipt::Delivery(DeliveryState::Dead);
    // An app's own address lies where others do, too: nothing is disabled.
    assert_eq!(desk.end(first[2], 1, gone.clone()).await, dead);
    assert_eq!(desk.store.list_disabled_endpoints().await.unwrap(), []);
    assert_eq!(
        desk.end(second[2], 1, AttemptEnd::Disabled).await,
        Receipt::Stale
    );
    assert_eq!(desk.end(first[0], 1, gone.clone()).await, dead);
    let disabled = desk.store.list_disabled_endpoints().await.unwrap();
    assert_eq!(disabled.len(), 1);
    assert_eq!(
        (disabled[0].name.as_str(), disabled[0].since),
        ("all", START)
    );
    assert_eq!(desk.end(second[0], 1, AttemptEnd::Disabled).await, dead);
    assert_eq!(
        desk.end(second[1], 1, AttemptEnd::Disabled).await,
        Receipt::Stale,
        "another's"
    );
    assert_eq!(
        desk.state(second[0]).await,
        (
            "dead".to_owned(),
            0,
            Some("the endpoint is disabled".to_owned())
        )
    );
    // What comes meanwhile is made, and its sender finds out.
    let third = desk.outcome("task-3", "failed", None).await;
    assert_eq!(desk.retry(second[0]).await, Receipt::Done);
    assert_eq!(desk.store.list_disabled_endpoints().await.unwrap(), []);
    assert_eq!(
        desk.end(third[0], 1, AttemptEnd::Disabled).await,
        Receipt::Stale,
        "it has been enabled since"
    );
    assert_eq!(desk.state(third[0]).await.0, "pending");
    // In one batch, in this order.
    let (one, other) = tokio::join!(desk.end(third[0], 1, gone), desk.retry(first[0]));
    assert_eq!((one, other), (dead, Receipt::Done));
    assert_eq!(desk.store.list_disabled_endpoints().await.unwrap(), []);
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
    let retried = |deliveries, more| Receipt::Retried { deliveries, more };
    assert_eq!(retry(Some("all"), 3).await, retried(3, true));
    assert_eq!(desk.due("all").await, of_all[..3], "the oldest first");
    // Two in one batch share what there is.
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
