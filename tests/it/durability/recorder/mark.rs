//! The high-water mark is written only after the database has advanced, because each write waits
//! for the disk twice.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use evolink_receiver::clock::Clock;
use evolink_receiver::observe::metrics::Metrics;
use evolink_receiver::store::Store;
use evolink_receiver::store::recorder::Recorder;
use evolink_receiver::workers::run_loop::run_loop;
use evolink_receiver::workers::upkeep::database::{Checkpointer, MarkKeeper};
use serde::Deserialize;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::support::recorder::entry::{PACE, entry};
use crate::support::store::TestStore;
use crate::support::until::until;

/// Longer than the interval between two marks.
const SOME_MARKS: Duration = Duration::from_millis(2500);

fn written_at(mark: &Path) -> SystemTime {
    fs::metadata(mark).unwrap().modified().unwrap()
}

/// A store whose recorder and mark run.
struct Marked {
    store: Arc<Store>,
    recorder: Recorder,
    stop: CancellationToken,
    workers: Vec<JoinHandle<()>>,
}

impl Marked {
    async fn open(home: &TestStore) -> Self {
        let store = Arc::new(Store::open(home.url()).await.unwrap());
        let (recorder, worker) =
            Recorder::new(Arc::clone(&store), Clock::System, PACE, Metrics::new());
        let stop = CancellationToken::new();
        let recording = tokio::spawn(worker.run(stop.clone()));
        let marking = MarkKeeper {
            store: Arc::clone(&store),
            failed: recorder.failed().clone(),
            written: None,
        };
        let marking = tokio::spawn(run_loop(marking, stop.clone()));
        Self {
            store,
            recorder,
            stop,
            workers: vec![recording, marking],
        }
    }

    async fn record(&self, task: &str) {
        self.recorder.record(entry(task, "new")).await.unwrap();
    }

    /// Runs checkpoints until `stop`.
    fn checkpoint(&self, stop: CancellationToken) -> JoinHandle<()> {
        let checkpointer = Checkpointer {
            store: Arc::clone(&self.store),
            failed: self.recorder.failed().clone(),
            connection: None,
        };
        tokio::spawn(run_loop(checkpointer, stop))
    }

    async fn close(self) {
        self.stop.cancel();
        for worker in self.workers {
            worker.await.unwrap();
        }
        self.store.close().await;
    }
}

#[derive(Deserialize)]
struct Mark {
    newest_task: i64,
    stamp: Option<i32>,
}

fn read(mark: &Path) -> Mark {
    serde_json::from_slice(&fs::read(mark).unwrap()).unwrap()
}

/// SQLite syncs the database only after a checkpoint of the whole log. A stamp that an interrupted
/// checkpoint wrote may be gone after a power cut.
#[tokio::test]
async fn the_mark_names_no_stamp_that_only_an_interrupted_checkpoint_wrote() {
    let folder = tempfile::tempdir().unwrap();
    let home = TestStore::file_in(folder.path());
    let mark = folder.path().join("receiver.db.mark");
    let marked = Marked::open(&home).await;
    let stop = CancellationToken::new();
    let checkpointing = marked.checkpoint(stop.clone());
    marked.record("task-0").await;
    until("a stamp", || read(&mark).stamp.is_some()).await;
    stop.cancel();
    checkpointing.await.unwrap();
    let synced = read(&mark).stamp;
    // The stamp of this task is written to the file. The reader prevents the sync.
    sleep(SOME_MARKS).await;
    marked.record("task-1").await;
    let reader = home.connect().await;
    reader.execute("BEGIN").await;
    let _: i64 = reader.value("SELECT count(*) FROM task", &[]).await;
    marked.record("task-2").await;
    let _checkpointing = marked.checkpoint(marked.stop.clone());
    for task in 3..6 {
        sleep(SOME_MARKS / 4).await;
        marked.record(&format!("task-{task}")).await;
    }
    until("the mark", || read(&mark).newest_task == 6).await;
    assert_eq!(read(&mark).stamp, synced);
    reader.execute("COMMIT").await;
    marked.record("task-6").await;
    until("the next stamp", || read(&mark).stamp > synced).await;
    reader.close().await;
    marked.close().await;
}

#[tokio::test]
async fn a_repeat_writes_no_mark_and_a_new_task_does() {
    let folder = tempfile::tempdir().unwrap();
    let home = TestStore::file_in(folder.path());
    let mark = folder.path().join("receiver.db.mark");
    let marked = Marked::open(&home).await;
    for (task, newest) in [("task-0", 1), ("task-1", 2)] {
        marked.record(task).await;
        until("the mark", || read(&mark).newest_task == newest).await;
        let last = written_at(&mark);
        for _ in 0..3 {
            marked.record(task).await;
            sleep(SOME_MARKS / 3).await;
        }
        sleep(SOME_MARKS / 2).await;
        assert_eq!(written_at(&mark), last, "after a repeat");
    }
    marked.close().await;
    let closed = fs::read_to_string(&mark).unwrap();
    assert!(closed.contains("folded_in"), "{closed}");
}
