//! A reader that follows the events as they come, each time from the last one it saw, like a client
//! of the receiver. If a lower number ever became visible after a higher one, this reader would
//! miss it for ever.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::support::store::database::{Bind, Database};

/// A connection without an answer for this long is given up.
const ANSWERS_WITHIN: Duration = Duration::from_secs(2);

pub struct Follower {
    stop: Arc<AtomicBool>,
    reading: Option<JoinHandle<Vec<i64>>>,
}

impl Follower {
    /// Follows the store at `url`, which may go away and come back.
    pub fn start(url: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let reading = read(url.to_owned(), Arc::clone(&stop));
        Self {
            stop,
            reading: Some(tokio::spawn(reading)),
        }
    }

    /// Asserts that the reader saw every event. Call it once nothing is written any more.
    pub async fn assert_saw_all(&mut self, database: &Database) {
        self.stop.store(true, Ordering::Relaxed);
        let reading = self.reading.take().expect("one end");
        let seen = reading.await.unwrap();
        let there = after(database, 0).await.unwrap();
        assert!(!there.is_empty(), "there were events");
        let missed = there.iter().filter(|seq| seen.binary_search(seq).is_err());
        let missed: Vec<_> = missed.collect();
        assert!(
            missed.is_empty() && seen == there,
            "of {} events {} became visible behind a later one: {missed:?}",
            there.len(),
            missed.len()
        );
    }
}

/// Reads until `stop`, and then to the end.
async fn read(url: String, stop: Arc<AtomicBool>) -> Vec<i64> {
    let mut seen: Vec<i64> = Vec::new();
    loop {
        if let Ok(Ok(database)) = timeout(ANSWERS_WITHIN, Database::try_connect(&url)).await {
            loop {
                let is_last = stop.load(Ordering::Relaxed);
                let last = seen.last().copied().unwrap_or(0);
                match timeout(ANSWERS_WITHIN, after(&database, last)).await {
                    Ok(Ok(new)) => seen.extend(new),
                    Ok(Err(_)) | Err(_) => break,
                }
                if is_last {
                    return seen;
                }
                sleep(Duration::from_millis(1)).await;
            }
        }
        sleep(Duration::from_millis(50)).await;
    }
}

async fn after(database: &Database, last: i64) -> Result<Vec<i64>, sqlx::Error> {
    let sql = "SELECT seq FROM event WHERE seq > $1 ORDER BY seq";
    let rows = database.try_rows::<(i64,)>(sql, &[Bind::Int(last)]).await?;
    Ok(rows.into_iter().map(|(seq,)| seq).collect())
}
