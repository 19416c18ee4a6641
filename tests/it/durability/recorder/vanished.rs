//! A row disappears before it is updated: the entry that needed the update is not acknowledged.

use evolink_receiver::store::StoreError;
use evolink_receiver::store::recorder::entry::{Entry, Receipt};
use tokio_util::sync::CancellationToken;

use super::bench::Bench;
use crate::support::recorder::entry::entry;

#[tokio::test]
async fn a_callback_whose_task_row_was_deleted_is_not_acknowledged() {
    let (bench, worker) = Bench::new().await;
    let stop = CancellationToken::new();
    let running = tokio::spawn(worker.run(stop.clone()));
    let recorder = &bench.recorder;
    recorder.record(entry("task-0", "first")).await.unwrap();
    let events = "SELECT count(*) FROM event";
    let observations = "SELECT count(*) FROM observation";
    let before: i64 = bench.database.value(events, &[]).await;
    // To the statement it looks as if the row did not exist.
    let vanish = bench.database.either(
        "CREATE TRIGGER vanish BEFORE UPDATE ON task BEGIN SELECT RAISE(IGNORE); END",
        "CREATE FUNCTION vanish() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
         CREATE TRIGGER vanish BEFORE UPDATE ON task FOR EACH ROW EXECUTE FUNCTION vanish()",
    );
    bench.database.execute(vanish).await;
    // One entry only counts, and one changes the task's state.
    let mut moving = entry("task-0", "moves");
    if let Entry::Observed { observation, .. } = &mut moving {
        observation.progress = Some(50);
    }
    // Queue many entries, because SQLite could commit before we notice that something is wrong.
    let again = (0..20).map(|number| entry("task-0", &format!("again {number}")));
    for said in again.chain([moving]) {
        let receipt = recorder.record(said).await;
        let is_refused = matches!(receipt, Err(StoreError::Corrupt { table: "task", .. }));
        assert!(is_refused, "{receipt:?}");
    }
    let written: i64 = bench.database.value(observations, &[]).await;
    assert_eq!(written, 1, "of what was refused nothing is written");
    // Entries of other tasks are not affected.
    let other = recorder.record(entry("task-1", "new")).await;
    assert!(matches!(other, Ok(Receipt::Seen { .. })), "{other:?}");
    assert!(!recorder.failed().is_cancelled());
    let appear = bench
        .database
        .either("DROP TRIGGER vanish", "DROP TRIGGER vanish ON task");
    bench.database.execute(appear).await;
    let again = recorder.record(entry("task-0", "once more")).await;
    assert!(matches!(again, Ok(Receipt::Seen { .. })), "{again:?}");
    assert_eq!(
        bench.database.value::<i64>(events, &[]).await,
        before + 1,
        "of the other task"
    );
    stop.cancel();
    running.await.unwrap();
}
