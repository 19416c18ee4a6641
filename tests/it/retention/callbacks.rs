//! Callbacks that come while their tasks are deleted.

use std::sync::Arc;

use evolink_receiver::domain::ids::SubmissionId;
use evolink_receiver::domain::observation::Source;
use evolink_receiver::store::recorder::entry::Receipt;
use evolink_receiver::store::retention::{Deleted, Deletion, OldRows};

use super::{Desk, RETENTION, said};

#[tokio::test]
async fn a_callback_for_a_task_that_was_deleted_creates_its_record_again() {
    let mut desk = Desk::open().await;
    let id = desk.failed("task-1").await;
    desk.deliver("task-1").await;
    desk.failed("last").await;
    desk.deliver("last").await;
    desk.live(92).await;
    assert_eq!(desk.count("task").await, 1);
    // Its token had been checked before it expired.
    let seen = desk
        .record(said(id, Source::Callback, "task-1", "failed"))
        .await;
    assert!(
        matches!(seen, Receipt::Seen { restored: true, .. }),
        "{seen:?}"
    );
    assert_eq!(desk.count("task WHERE origin = 'restored'").await, 1);
    desk.deliver("task-1").await;
    // It stays as long as its event.
    desk.live(29).await;
    assert_eq!(desk.count("task WHERE origin = 'restored'").await, 1);
    desk.failed("new").await;
    desk.deliver("new").await;
    desk.live(3).await;
    assert_eq!(desk.count("task WHERE origin = 'restored'").await, 0);
    desk.assert_whole().await;
    desk.close().await;
}

/// Fills a store with tasks that can be deleted. Returns their ids and numbers.
async fn old_tasks(desk: &mut Desk, count: usize) -> Vec<(SubmissionId, i64)> {
    let mut ids = Vec::new();
    for n in 0..count {
        ids.push(desk.failed(&format!("task-{n}")).await);
        desk.deliver(&format!("task-{n}")).await;
    }
    desk.failed("last").await;
    desk.deliver("last").await;
    desk.live(80).await;
    // Not a day of the janitor's work: only the clock.
    desk.clock.advance(super::DAY * 12);
    ids.into_iter().zip(1..).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callbacks_in_the_same_batch_as_the_deletion_of_their_tasks_are_recorded() {
    let mut desk = Desk::open().await;
    let tasks = old_tasks(&mut desk, 60).await;
    let recorder = Arc::new(desk.recorder.clone());
    // Everything is queued before the recorder takes its next batch.
    let deletion = Deletion {
        holder: desk.holder.clone(),
        cutoffs: RETENTION.cutoffs(desk.clock.now()),
        rows: OldRows::Tasks {
            seqs: tasks.iter().map(|(_, seq)| *seq).collect(),
        },
    };
    let callbacks = tasks.iter().enumerate().filter(|(n, _)| n % 2 == 0);
    let callbacks = callbacks.map(|(n, (id, _))| {
        let (recorder, entry) = (
            Arc::clone(&recorder),
            said(*id, Source::Callback, &format!("task-{n}"), "failed"),
        );
        async move { recorder.record(entry).await }
    });
    let deleting = recorder.delete_old(deletion);
    let (deleted, seen) = tokio::join!(deleting, futures_util::future::join_all(callbacks));
    let Deleted::Rows(deleted) = deleted.unwrap() else {
        panic!("the lease is ours")
    };
    assert!((30..=60).contains(&deleted), "{deleted}");
    for (seen, (id, _)) in seen.into_iter().zip(tasks.iter().step_by(2)) {
        assert!(matches!(seen, Ok(Receipt::Seen { .. })), "{id}: {seen:?}");
        let kept = format!("task WHERE submission_id = '{id}'");
        assert_eq!(desk.count(&kept).await, 1, "{id}");
    }
    desk.assert_whole().await;
    desk.close().await;
}
