//! SQLite's write-ahead log stays small (I38), however much is written, and however many readers
//! there are or how slow they are.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::support::described;
use crate::support::process::Place;
use crate::support::until::PATIENCE;

const LOG_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Bytes written while the log is watched. Without checkpoints the log would grow to twice its
/// limit.
const WRITTEN_BYTES: u64 = 2 * LOG_BYTES_MAX;

/// Size of a callback body. A few large bodies fill a log like many small ones, but faster.
const BODY_BYTES: u64 = 240 * 1024;

const SENDERS: u64 = 64;

/// More readers than read connections, so the store is never without a reader.
const READERS: u64 = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn i38_the_log_stays_small_while_all_is_written_and_read_at_once() {
    let place = Place::new();
    let receiver = place.start().await;
    let written = Arc::new(AtomicU64::new(0));
    let mut clients = JoinSet::new();
    for number in 0..SENDERS {
        let (http, url) = (receiver.http.clone(), receiver.callback_url());
        clients.spawn(send(http, url, number, Arc::clone(&written)));
    }
    for number in 0..READERS {
        let url = format!("http://{}/v1/tasks?limit=5", receiver.internal);
        clients.spawn(read(receiver.http.clone(), url, number));
    }
    let log = PathBuf::from(format!("{}-wal", place.database().display()));
    let (mut longest, mut last, mut deadline) = (0, 0, Instant::now() + PATIENCE);
    while last < WRITTEN_BYTES {
        longest = longest.max(std::fs::metadata(&log).unwrap().len());
        assert!(longest <= LOG_BYTES_MAX, "the log has {longest} bytes");
        let now = written.load(Ordering::Relaxed);
        if now > last {
            (last, deadline) = (now, Instant::now() + PATIENCE);
        }
        assert!(Instant::now() < deadline, "{}", receiver.log_tail());
        sleep(Duration::from_millis(5)).await;
    }
    println!("the log was {longest} bytes long at most");
    assert!(longest > 0, "that is no log");
}

async fn send(http: described::Client, url: String, number: u64, written: Arc<AtomicU64>) {
    let filler = "x".repeat(BODY_BYTES.try_into().unwrap());
    for n in 0.. {
        let body = format!(r#"{{"id":"task-{number}-{n}","status":"processing","x":"{filler}"}}"#);
        let answer = http.post(&url).body(body).send().await;
        if answer.is_ok_and(|answer| answer.status() == 200) {
            written.fetch_add(BODY_BYTES, Ordering::Relaxed);
        }
    }
}

/// Reads one page after the other. Every second reader pauses at each page.
async fn read(http: described::Client, url: String, number: u64) {
    loop {
        let Ok(mut answer) = http.get(&url).send().await else {
            continue;
        };
        while let Ok(Some(_)) = answer.chunk().await {
            if number.is_multiple_of(2) {
                sleep(Duration::from_millis(5)).await;
            }
        }
    }
}
