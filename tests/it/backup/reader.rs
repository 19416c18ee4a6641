//! A backup holds a read transaction on the log for as long as it runs. Recording does not wait for
//! it.

use std::sync::Arc;

use evolink_receiver::clock::Clock;
use evolink_receiver::observe::metrics::Metrics;
use evolink_receiver::store::Store;
use evolink_receiver::store::recorder::Recorder;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::support::recorder::entry::{PACE, entry};
use crate::support::store::TestStore;
use crate::support::until::PATIENCE;

/// Entries of one mebibyte each: twice as many as it takes for the log to start over from its
/// beginning while nothing reads it.
const ENTRIES: u32 = 80;

#[tokio::test]
async fn a_reader_that_stays_long_does_not_stop_the_recorder() {
    let folder = tempfile::tempdir().unwrap();
    let home = TestStore::file_in(folder.path());
    let store = Arc::new(Store::open(home.url()).await.unwrap());
    let (recorder, worker) = Recorder::new(Arc::clone(&store), Clock::System, PACE, Metrics::new());
    let stop = CancellationToken::new();
    let recording = tokio::spawn(worker.run(stop.clone()));
    recorder.record(entry("task-first", "first")).await.unwrap();
    let reader = home.connect().await;
    reader.execute("BEGIN").await;
    let seen = async || reader.value::<i64>("SELECT count(*) FROM event", &[]).await;
    let before = seen().await;
    let body = "x".repeat(1024 * 1024);
    let all = async {
        for number in 0..ENTRIES {
            recorder
                .record(entry(&format!("task-{number}"), &body))
                .await
                .unwrap();
        }
    };
    let in_time = timeout(PATIENCE, all).await;
    assert!(in_time.is_ok(), "the recorder waits for the reader");
    assert_eq!(seen().await, before, "it has read one state all the while");
    reader.execute("COMMIT").await;
    reader.close().await;
    // Without a reader the log starts over from its beginning.
    let log = folder.path().join("receiver.db-wal");
    let longest = std::fs::metadata(&log).unwrap().len();
    timeout(PATIENCE, async {
        let mut number = ENTRIES;
        while std::fs::metadata(&log).unwrap().len() >= longest {
            recorder
                .record(entry(&format!("task-{number}"), "more"))
                .await
                .unwrap();
            number += 1;
        }
    })
    .await
    .expect("the log is cut");
    stop.cancel();
    recording.await.unwrap();
    store.close().await;
}
