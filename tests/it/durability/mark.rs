//! The high-water mark is written only after the database has advanced, because each write waits
//! for the disk twice.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use evolink_receiver::clock::Clock;
use evolink_receiver::metrics::Metrics;
use evolink_receiver::store::Store;
use evolink_receiver::store::recorder::Recorder;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::recorder::{PACE, entry};
use crate::support::store::TestStore;
use crate::support::until::until;

/// Longer than the interval between two marks.
const SOME_MARKS: Duration = Duration::from_millis(2500);

fn written_at(mark: &Path) -> SystemTime {
    fs::metadata(mark).unwrap().modified().unwrap()
}

#[tokio::test]
async fn a_repeat_writes_no_mark_and_a_new_task_does() {
    let folder = tempfile::tempdir().unwrap();
    let home = TestStore::file_in(folder.path());
    let mark = folder.path().join("receiver.db.mark");
    let store = Arc::new(Store::open(home.url()).await.unwrap());
    let (recorder, worker) = Recorder::new(Arc::clone(&store), Clock::System, PACE, Metrics::new());
    let stop = CancellationToken::new();
    let recording = tokio::spawn(worker.run(stop.clone()));
    let (stopping, failed) = (stop.clone(), recorder.failed().clone());
    let marked = Arc::clone(&store);
    let marking = tokio::spawn(async move { marked.keep_mark(failed, stopping).await });
    let mut last = written_at(&mark);
    for task in ["task-0", "task-1"] {
        recorder.record(entry(task, "new")).await.unwrap();
        until("the mark", || written_at(&mark) != last).await;
        last = written_at(&mark);
        for _ in 0..3 {
            recorder.record(entry(task, "new")).await.unwrap();
            sleep(SOME_MARKS / 3).await;
        }
        sleep(SOME_MARKS / 2).await;
        assert_eq!(written_at(&mark), last, "after a repeat");
    }
    stop.cancel();
    recording.await.unwrap();
    marking.await.unwrap();
    store.close().await;
    let closed = fs::read_to_string(&mark).unwrap();
    assert!(closed.contains("folded_in"), "{closed}");
}
