//! Deliveries are created together with their outcome, in one transaction. There is one for each
//! endpoint that wants the outcome, however often and through whichever source the outcome is
//! reported.

use evolink_receiver::domain::event::EventType;
use tokio::task::JoinSet;

use super::*;
use crate::support::store::check;
use crate::support::store::database::Refused;

/// Event, task, state, attempts, due time, holder, lease and creation time.
type Delivery = (i64, i64, String, i64, i64, String, i64, i64);

#[tokio::test]
async fn an_outcome_is_owed_to_each_endpoint_that_wants_it_and_to_the_apps_own_address() {
    let desk = Desk::open().await;
    for (task, status, own, wanted) in [
        ("task-1", "completed", None, &["all"][..]),
        ("task-2", "failed", None, &["all", "bad"]),
        (
            "task-3",
            "cancelled",
            Some(OWN),
            &["all", "bad", OWN_ORIGIN],
        ),
        ("task-4", "completed", Some(OWN), &["all", OWN_ORIGIN]),
        ("task-5", "processing", Some(OWN), &[]),
    ] {
        desk.outcome(task, status, own).await;
        let owed = desk.owed(task).await;
        let endpoints: Vec<&str> = owed
            .iter()
            .map(|(_, endpoint, _)| endpoint.as_str())
            .collect();
        assert_eq!(endpoints, wanted, "{task}");
        for (_, endpoint, url) in &owed {
            let own = (endpoint == OWN_ORIGIN).then_some(OWN);
            assert_eq!(url.as_deref(), own, "{task}");
        }
    }
    let sql = "SELECT event_seq, task_seq, state, attempts, due_at, holder, lease_until, made_at FROM delivery ORDER BY id";
    let rows: Vec<Delivery> = desk.database.rows(sql, &[]).await;
    let now = START.as_millis();
    let lease = START.after(LEASE).as_millis();
    let first = (
        2,
        1,
        "pending".to_owned(),
        0,
        now,
        desk.holder.as_str().to_owned(),
        lease,
        now,
    );
    assert_eq!(rows[0], first);
    let events = "SELECT count(*) FROM delivery JOIN event ON event.seq = event_seq AND event.task_seq = delivery.task_seq
        WHERE id / 1024 = event.seq";
    assert_eq!(desk.database.value::<i64>(events, &[]).await, 8);
    assert_whole(&desk).await;
}

#[tokio::test]
async fn a_repeat_a_conflict_and_a_late_outcome_owe_nothing_twice() {
    let desk = Desk::open().await;
    let id = desk.submitted("task-1", Some(OWN)).await;
    for (source, status) in [
        (Source::Callback, "completed"),
        (Source::Callback, "completed"),
        (Source::Poll, "completed"),
        (Source::Callback, "failed"),
        (Source::Replay, "completed"),
    ] {
        desk.record(said(id, source, "task-1", status)).await;
    }
    assert_eq!(desk.owed("task-1").await.len(), 2);
    // All in one batch.
    let id = desk.submitted("task-2", None).await;
    let calls = (0..64).map(|_| desk.record(said(id, Source::Callback, "task-2", "failed")));
    futures_util::future::join_all(calls).await;
    assert_eq!(desk.owed("task-2").await.len(), 2);
    // The task is given up, and its outcome arrives after all.
    let id = desk.submitted("task-3", Some(OWN)).await;
    desk.clock.advance(PACE.give_up_after * 2);
    desk.record(Entry::GaveUp { submission_id: id }).await;
    assert_eq!(desk.owed("task-3").await, []);
    desk.record(said(id, Source::Callback, "task-3", "completed"))
        .await;
    assert_eq!(desk.owed("task-3").await.len(), 2);
    assert_whole(&desk).await;
}

#[tokio::test]
async fn there_are_both_the_outcome_and_its_deliveries_or_none() {
    let desk = Desk::open().await;
    let id = desk.submitted("task-1", Some(OWN)).await;
    let refuse = desk.database.either(
        "CREATE TRIGGER refuse BEFORE INSERT ON delivery BEGIN SELECT RAISE(ABORT, 'refused'); END",
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'refused'; END $$;
        CREATE TRIGGER refuse BEFORE INSERT ON delivery FOR EACH ROW EXECUTE FUNCTION refuse()",
    );
    desk.database.execute(refuse).await;
    let outcome = said(id, Source::Callback, "task-1", "completed");
    desk.recorder.record(outcome.clone()).await.unwrap_err();
    let state: String = desk.database.value("SELECT state FROM task", &[]).await;
    assert_eq!(state, "pending");
    desk.database.stop_refusing().await;
    desk.database.refuse(Refused::Events, "ABORT").await;
    desk.recorder.record(outcome.clone()).await.unwrap_err();
    assert_eq!(desk.owed("task-1").await, []);
    desk.database.stop_refusing().await;
    desk.record(outcome).await;
    assert_eq!(desk.owed("task-1").await.len(), 2);
    assert_whole(&desk).await;
}

/// On PostgreSQL these recorders are replicas. A SQLite store has one process, but two recorders in
/// it still take turns.
#[tokio::test]
async fn recorders_that_get_the_same_callback_create_one_delivery() {
    let desk = Arc::new(Desk::open().await);
    let (other, worker) = Recorder::new(
        Arc::clone(&desk.store),
        desk.clock.clone(),
        PACE,
        Metrics::new(),
    );
    let stop = CancellationToken::new();
    let worker = worker.with_routes(Routes {
        standing: standing(),
        holder: Holder::new(START),
        lease: LEASE,
    });
    let running = tokio::spawn(worker.run(stop.clone()));
    let mut ids = Vec::new();
    for number in 0..40 {
        let task = format!("task-{number}");
        ids.push((desk.submitted(&task, Some(OWN)).await, task));
    }
    // Each recorder gets one of the two outcomes first.
    for (recorder, (id, task)) in [&desk.recorder, &other].into_iter().zip(&ids) {
        let outcome = said(*id, Source::Callback, task, "failed");
        recorder.record(outcome).await.unwrap();
    }
    let mut calls = JoinSet::new();
    for (id, task) in ids.clone() {
        for recorder in [&desk.recorder, &other, &desk.recorder, &other] {
            let (recorder, entry) = (
                recorder.clone(),
                said(id, Source::Callback, &task, "failed"),
            );
            calls.spawn(async move { recorder.record(entry).await.unwrap() });
        }
    }
    calls.join_all().await;
    for (_, task) in ids {
        assert_eq!(desk.owed(&task).await.len(), 3, "{task}");
    }
    let holders = "SELECT count(DISTINCT holder) FROM delivery";
    assert_eq!(
        desk.database.value::<i64>(holders, &[]).await,
        2,
        "both have made some"
    );
    assert_whole(&desk).await;
    stop.cancel();
    running.await.unwrap();
}

#[tokio::test]
async fn where_no_endpoint_wants_it_nothing_is_written() {
    let only = vec![Route {
        endpoint: EndpointKey::standing("bad"),
        events: vec![EventType::Failed],
    }];
    let desk = Desk::on(Arc::new(TestStore::new()), only, Clock::manual(START)).await;
    assert_eq!(desk.outcome("task-1", "completed", None).await, NONE);
    assert_eq!(desk.outcome("task-2", "failed", None).await.len(), 1);
}

async fn assert_whole(desk: &Desk) {
    let faults = check::faults(&desk.home, &[]).await;
    assert!(faults.is_empty(), "{faults:#?}");
}
