//! What is never deleted, however old it is.

use evolink_receiver::domain::delivery::AttemptEnd;
use evolink_receiver::domain::observation::Source;
use evolink_receiver::store::recorder::entry::{Entry, SubmitEnded};

use super::{Desk, said};

#[tokio::test]
async fn an_open_task_is_never_deleted() {
    let mut desk = Desk::open().await;
    let open = desk.submitted("open").await;
    let unknown = desk.submitted("unknown").await;
    desk.live(1).await;
    desk.record(Entry::GaveUp {
        submission_id: unknown,
    })
    .await;
    assert_eq!(desk.count("task WHERE state = 'unresolved'").await, 1);
    desk.failed("over").await;
    desk.deliver("over").await;
    desk.failed("last").await;
    desk.deliver("last").await;
    desk.live(120).await;
    let kept = |name: &str| format!("task WHERE task_id = '{name}'");
    assert_eq!(desk.count(&kept("open")).await, 1);
    assert_eq!(desk.count(&kept("over")).await, 0);
    assert_eq!(
        desk.count(&kept("unknown")).await,
        0,
        "unresolved tasks are over"
    );
    // Its outcome still counts.
    desk.record(said(open, Source::Poll, "open", "failed"))
        .await;
    assert_eq!(
        desk.count("task WHERE task_id = 'open' AND state = 'failed'")
            .await,
        1
    );
    desk.assert_whole().await;
    desk.close().await;
}

#[tokio::test]
async fn a_submit_of_unknown_outcome_goes_when_its_url_has_expired() {
    let mut desk = Desk::open().await;
    let id = desk.intended("key").await;
    desk.record(Entry::SubmitEnded {
        submission_id: id,
        ended: SubmitEnded::Unknown,
    })
    .await;
    desk.failed("last").await;
    desk.live(89).await;
    assert_eq!(desk.count("task WHERE state = 'submit_unknown'").await, 1);
    desk.live(2).await;
    assert_eq!(desk.count("task WHERE state = 'submit_unknown'").await, 0);
    desk.assert_whole().await;
    desk.close().await;
}

#[tokio::test]
async fn a_pending_delivery_keeps_its_event_and_its_task() {
    let mut desk = Desk::open().await;
    desk.failed("before").await;
    desk.deliver("before").await;
    desk.failed("task-1").await;
    desk.failed("last").await;
    desk.deliver("last").await;
    desk.live(120).await;
    assert_eq!(desk.count("delivery WHERE state = 'pending'").await, 1);
    assert_eq!(desk.count("task WHERE task_id = 'task-1'").await, 1);
    assert_eq!(desk.count("task WHERE task_id = 'before'").await, 0);
    let id = desk.deliveries("task-1").await[0];
    // A dead delivery is kept for 30 days, so that an operator can send it.
    desk.end(
        id,
        AttemptEnd::Refused {
            reason: "no".to_owned(),
        },
    )
    .await;
    desk.live(29).await;
    assert_eq!(desk.count("delivery WHERE state = 'dead'").await, 1);
    desk.live(2).await;
    assert_eq!(desk.count("delivery").await, 0);
    assert_eq!(desk.count("task").await, 1);
    desk.assert_whole().await;
    desk.close().await;
}

#[tokio::test]
async fn a_task_whose_files_can_still_be_fetched_is_kept() {
    let mut desk = Desk::open().await;
    let id = desk.submitted("task-1").await;
    desk.record(said(id, Source::Poll, "task-1", "completed"))
        .await;
    desk.deliver("task-1").await;
    desk.failed("last").await;
    desk.deliver("last").await;
    assert_eq!(desk.count("result WHERE state = 'pending'").await, 1);
    // EvoLink offers it for a year.
    desk.database
        .execute("UPDATE result SET offered_until = offered_until + 31536000000")
        .await;
    desk.live(120).await;
    assert_eq!(desk.count("task WHERE task_id = 'task-1'").await, 1);
    desk.database
        .execute("UPDATE result SET state = 'failed', due_at = NULL, ended_at = 1")
        .await;
    desk.live(1).await;
    assert_eq!(desk.count("task WHERE task_id = 'task-1'").await, 0);
    assert_eq!(desk.count("result").await, 0);
    desk.assert_whole().await;
    desk.close().await;
}

#[tokio::test]
async fn a_time_that_a_wrong_clock_recorded_neither_stops_nor_hastens_the_deletion() {
    let mut desk = Desk::open().await;
    for name in ["a", "b", "c", "d"] {
        desk.failed(name).await;
        desk.deliver(name).await;
    }
    // Events 1 to 3 were recorded by a clock that was ten years ahead.
    desk.database
        .execute("UPDATE event SET at = at + 315360000000 WHERE seq <= 3")
        .await;
    desk.live(25).await;
    assert_eq!(desk.count("event").await, 8);
    desk.live(10).await;
    assert_eq!(
        desk.count("event").await,
        1,
        "they are as old as those after them"
    );
    desk.assert_whole().await;
    desk.close().await;
}

#[tokio::test]
async fn epochs_are_kept() {
    let mut desk = Desk::open().await;
    for name in ["a", "b"] {
        desk.failed(name).await;
        desk.deliver(name).await;
    }
    desk.live(40).await;
    assert_eq!(desk.count("epoch").await, 1);
    let refused = desk.database.try_execute("DELETE FROM epoch").await;
    assert!(refused.is_err());
    let refused = desk.database.try_execute("DELETE FROM event").await;
    assert!(refused.is_err());
    desk.close().await;
}
