//! Task rows whose columns contradict each other. No such row is taken for a task.

use evolink_receiver::domain::task::State;
use evolink_receiver::store::StoreError;
use evolink_receiver::store::recorder::entry::Receipt;
use evolink_receiver::store::recorder::record::{Record, RecordRow};
use strum::VariantArray as _;
use tokio_util::sync::CancellationToken;

use super::bench::Bench;
use crate::support::recorder::entry::entry;

const SEQ: i64 = 7;

/// A row in `state` as this program writes it.
fn row(state: State) -> RecordRow {
    let is_accepted = !matches!(
        state,
        State::Submitting | State::SubmitUnknown | State::Rejected
    );
    RecordRow {
        seq: SEQ,
        submission_id: "01890000-0000-7000-8000-000000000001".to_owned(),
        origin: "submit".to_owned(),
        client: None,
        kind: None,
        model: None,
        reference: None,
        request: None,
        callback_url: None,
        submitted_at: 1,
        task_id: is_accepted.then(|| "task-1".to_owned()),
        state: state.into_str().to_owned(),
        progress: 0,
        source: is_accepted.then(|| "poll".to_owned()),
        results_digest: (state == State::Completed).then(|| vec![0; 32]),
        refusal: None,
        credits: None,
        observations: 0,
        shown: None,
        results_order: None,
        outcome_at: state.is_outcome().then_some(2),
        next_poll_at: None,
        polled_at: None,
        polls: 0,
        empty_polls: 0,
        missed_polls: 0,
        vouched_at: is_accepted.then_some(2),
        claimed: None,
        claimed_at: None,
    }
}

/// The column by which `row` is found to be corrupt.
fn contradiction(row: RecordRow) -> Option<&'static str> {
    match Record::try_from(row) {
        Ok(_) => None,
        Err(StoreError::Corrupt {
            table: "task",
            id: SEQ,
            column,
        }) => Some(column),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn a_row_is_a_task_only_if_it_has_what_its_state_has_and_nothing_else() {
    for &state in State::VARIANTS {
        let record = Record::try_from(row(state)).unwrap();
        assert_eq!(record.task.state(), state);
        let is_accepted = record.task.accepted().is_some();
        let spoilt = |column: &str, spoil: &dyn Fn(&mut RecordRow)| {
            let mut row = row(state);
            spoil(&mut row);
            assert_eq!(contradiction(row), Some(column), "{}", state.into_str());
        };
        spoilt("state", &|row| {
            row.outcome_at = row.outcome_at.xor(Some(2));
        });
        spoilt("state", &|row| {
            row.results_digest = row.results_digest.take().xor(Some(vec![0; 32]));
        });
        let missing = if is_accepted { "task_id" } else { "source" };
        spoilt(missing, &|row| {
            row.task_id = row.task_id.take().xor(Some("task-1".to_owned()));
        });
        let alone = if is_accepted { "source" } else { "task_id" };
        spoilt(alone, &|row| {
            row.source = row.source.take().xor(Some("poll".to_owned()));
        });
        spoilt("state", &|row| {
            // All that the other kind of state has.
            row.task_id = row.task_id.take().xor(Some("task-1".to_owned()));
            row.source = row.source.take().xor(Some("poll".to_owned()));
            row.vouched_at = row.vouched_at.xor(Some(2));
        });
        spoilt("claimed", &|row| row.claimed = Some("failed".to_owned()));
        spoilt("claimed", &|row| row.claimed_at = Some(2));
        spoilt("claimed", &|row| {
            (row.claimed, row.claimed_at) = (Some("pending".to_owned()), Some(2));
        });
        if !is_accepted {
            spoilt("task_id", &|row| row.vouched_at = Some(2));
            spoilt("task_id", &|row| {
                (row.claimed, row.claimed_at) = (Some("failed".to_owned()), Some(2));
            });
        }
    }
}

#[tokio::test]
async fn nothing_is_acknowledged_for_a_row_that_contradicts_itself() {
    let (bench, worker) = Bench::new().await;
    let stop = CancellationToken::new();
    let running = tokio::spawn(worker.run(stop.clone()));
    bench
        .recorder
        .record(entry("task-0", "first"))
        .await
        .unwrap();
    let spoil = "UPDATE task SET source = NULL";
    bench.database.execute(spoil).await;
    let observations = "SELECT count(*) FROM observation";
    let before: i64 = bench.database.value(observations, &[]).await;
    let refused = bench.recorder.record(entry("task-0", "again")).await;
    let error = refused.unwrap_err().to_string();
    assert_eq!(
        error,
        "row 1 of table task has an impossible value in column source"
    );
    let after: i64 = bench.database.value(observations, &[]).await;
    assert_eq!(after, before, "of what was refused nothing is written");
    // Entries of other tasks are not affected.
    let other = bench.recorder.record(entry("task-1", "new")).await;
    assert!(matches!(other, Ok(Receipt::Seen { .. })), "{other:?}");
    stop.cancel();
    running.await.unwrap();
}
