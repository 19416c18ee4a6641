//! Several janitors on one database.

use std::sync::Arc;

use evolink_receiver::store::retention::{Deleted, Deletion, LEASE, OldRows};

use super::{Desk, RETENTION};
use crate::support::store::TestStore;
use crate::support::store::is_postgres;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_two_replicas_deletes_and_another_takes_over_when_its_lease_is_over() {
    if !is_postgres() {
        return;
    }
    let home = Arc::new(TestStore::new());
    let mut one = Desk::on(
        Arc::clone(&home),
        evolink_receiver::clock::Clock::manual(super::START),
    )
    .await;
    let two = Desk::on(Arc::clone(&home), one.clock.clone()).await;
    for n in 0..40 {
        one.failed(&format!("task-{n}")).await;
        one.deliver(&format!("task-{n}")).await;
    }
    let nothing = |desk: &Desk| Deletion {
        holder: desk.holder.clone(),
        cutoffs: RETENTION.cutoffs(desk.clock.now()),
        rows: OldRows::None,
    };
    let taken = |desk: &Desk| {
        let (recorder, deletion) = (desk.recorder.clone(), nothing(desk));
        async move { recorder.delete_old(deletion).await.unwrap() }
    };
    assert_eq!(taken(&one).await, Deleted::Rows(0));
    assert_eq!(taken(&two).await, Deleted::NotOurs);
    one.clock.advance(LEASE);
    assert_eq!(taken(&two).await, Deleted::Rows(0));
    assert_eq!(taken(&one).await, Deleted::NotOurs);
    let mut two = two;
    for _ in 0..95 {
        one.clock.advance(super::DAY);
        tokio::join!(one.sweep(), two.sweep());
    }
    one.assert_whole().await;
    assert_eq!(one.count("task").await, 1);
    // Together they have deleted each row once.
    let deleted = |desk: &Desk| {
        let text = desk.metrics.render();
        let series = "evolink_receiver_retention_deleted_rows_total{kind=\"task\"} ";
        let line = text.lines().find_map(|line| line.strip_prefix(series));
        line.map_or(0, |rows| rows.parse::<u32>().unwrap())
    };
    assert_eq!(deleted(&one) + deleted(&two), 39);
    one.close().await;
    two.close().await;
}
