//! Each kind of row is deleted when its time is over, and not before.

use std::time::Duration;

use evolink_receiver::domain::callback::Subject;
use evolink_receiver::domain::observation::Source;
use evolink_receiver::store::read::TaskName;
use evolink_receiver::store::recorder::entry::Entry;
use http::HeaderMap;

use super::{DAY, Desk, said};

async fn unreadable(desk: &Desk, body: &'static str) {
    desk.record(Entry::Unreadable {
        subject: Subject::Standing("x".parse().unwrap()),
        source: Source::Callback,
        body: body.into(),
        reason: "not JSON".to_owned(),
        headers: HeaderMap::new(),
    })
    .await;
}

#[tokio::test]
async fn every_kind_of_row_is_deleted_when_its_time_is_over() {
    let mut desk = Desk::open().await;
    let id = desk.failed("task-1").await;
    // The same outcome in other words: an observation that nothing shows.
    desk.record(said(id, Source::Poll, "task-1", "failed"))
        .await;
    desk.deliver("task-1").await;
    unreadable(&desk, "nonsense").await;
    // The newest task stays in any case.
    let last = desk.failed("task-2").await;
    desk.deliver("task-2").await;

    desk.live(1).await;
    assert_eq!(
        desk.count("idempotency").await,
        2,
        "keys are kept for a day"
    );
    desk.live(1).await;
    assert_eq!(desk.count("idempotency").await, 0);
    desk.live(5).await;
    assert_eq!(
        desk.count("delivery").await,
        2,
        "delivered ones, for 7 days"
    );
    desk.live(3).await;
    assert_eq!(desk.count("delivery").await, 0);
    desk.live(19).await;
    assert_eq!(desk.count("quarantine").await, 1, "29 days");
    assert_eq!(desk.count("event").await, 4);
    let bodies = "observation WHERE length(body) > 0";
    assert_eq!(desk.count(bodies).await, 5);
    desk.live(3).await;
    assert_eq!(desk.count("quarantine").await, 0);
    assert_eq!(desk.count("quarantine_total WHERE entries = 0").await, 1);
    assert_eq!(desk.count("event").await, 1, "the newest one stays");
    // The bodies that tasks show stay, and the body of the newest event.
    assert_eq!(desk.count(bodies).await, 2);
    assert_eq!(desk.count("observation").await, 5);
    let shown = desk.store.find_task(&TaskName::Submission(id)).await;
    assert!(shown.unwrap().unwrap().body.is_some());
    desk.live(57).await;
    assert_eq!(desk.count("task").await, 2, "89 days");
    desk.live(3).await;
    desk.assert_whole().await;
    assert_eq!(desk.count("task").await, 1);
    let kept = desk.store.find_task(&TaskName::Submission(last)).await;
    assert!(kept.unwrap().is_some(), "the newest task stays");
    let text = desk.metrics.render();
    for (kind, rows) in [
        ("task", 1),
        ("event", 3),
        ("observation_body", 3),
        ("delivery", 2),
        ("quarantine", 1),
        ("idempotency_key", 2),
    ] {
        let line = format!("retention_deleted_rows_total{{kind=\"{kind}\"}} {rows}\n");
        assert!(text.contains(&line), "{line}: {text}");
    }
    assert!(text.contains("retention_last_run_timestamp_seconds "));
    desk.close().await;
}

#[tokio::test]
async fn many_rows_are_deleted_in_several_batches() {
    let mut desk = Desk::open().await;
    for n in 0..600 {
        let id = desk.failed(&format!("task-{n}")).await;
        assert!(!id.to_string().is_empty());
    }
    desk.database
        .execute("UPDATE delivery SET state = 'dead', ended_at = made_at, holder = NULL, lease_until = NULL")
        .await;
    desk.live(95).await;
    desk.assert_whole().await;
    for table in ["task", "event"] {
        assert_eq!(desk.count(table).await, 1, "{table}");
    }
    // New rows go on with the numbers.
    desk.failed("new").await;
    let newest: i64 = desk.database.value("SELECT max(seq) FROM event", &[]).await;
    assert_eq!(newest, 1202);
    desk.assert_whole().await;
    desk.close().await;
}

#[tokio::test]
async fn after_a_jump_of_the_clock_nothing_is_deleted_for_a_day() {
    let mut desk = Desk::open().await;
    desk.failed("task-1").await;
    desk.failed("task-2").await;
    desk.live(1).await;
    // A machine that starts with a clock that is years ahead.
    desk.clock.advance(DAY * 3650);
    assert!(!desk.sweep().await);
    let paused = "evolink_receiver_retention_paused 1\n";
    assert!(desk.metrics.render().contains(paused));
    desk.clock.advance(Duration::from_hours(23));
    assert!(!desk.sweep().await);
    assert_eq!(desk.count("task").await, 2);
    desk.clock.advance(Duration::from_hours(2));
    assert!(desk.sweep().await);
    assert!(!desk.metrics.render().contains(paused));
    // The deliveries are pending, so their events stay.
    assert_eq!(desk.count("event").await, 3);
    desk.close().await;
}
