//! Decides what the repeat guard cannot decide at once: whether the app of an equal submit still
//! waits. Usually the guard knows, and nothing here runs.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Submits;
use crate::domain::delivery::Holder;
use crate::domain::ids::SubmissionId;
use crate::store::StoreError;
use crate::store::repeats::{DEAD_AFTER, WatchResult, Watched};

/// Time to notice that a connection was closed. An app that disconnects and reconnects at once may
/// be faster than the end of its first connection.
const GRACE: Duration = Duration::from_millis(50);

/// Interval at which the rows of other processes are read. Each process touches the rows of its
/// long-waiting submits every second.
const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// Time after which the reading stops. A row that appeared too late to be judged by then is watched
/// in the next call.
const WATCH_MAX: Duration = Duration::from_secs(14);

/// A row that is watched.
struct Row {
    holder: Holder,
    beats: i64,
    since: Instant,
    is_touched: bool,
}

impl Row {
    fn is_known(&self) -> bool {
        self.is_touched || self.since.elapsed() >= DEAD_AFTER
    }
}

/// Determines which equal submits of other processes still have an app that waits.
///
/// Such a row is touched by its process. If it is not touched for `DEAD_AFTER`, its app has left,
/// or the process is dead. Only this process measures the time, because the clocks of others may
/// differ.
pub async fn watch_rows(
    submits: &Submits,
    client: &str,
    fingerprint: &[u8; 32],
    window: Duration,
) -> Result<Vec<Watched>, StoreError> {
    sleep(GRACE).await;
    if !submits.store.is_shared() {
        return Ok(Vec::new());
    }
    let oldest = SubmissionId::first_at(submits.clock.now().before(window));
    let (began, apps) = (Instant::now(), submits.recorder.apps());
    let mut rows: HashMap<SubmissionId, Row> = HashMap::new();
    loop {
        let found = submits
            .store
            .waiting_submits(client, fingerprint, oldest)
            .await?;
        let mut is_open = false;
        for (id, holder, beats) in found {
            if apps.is_waiting(id) || apps.has_answer(id) {
                continue;
            }
            let row = rows.entry(id).or_insert_with(|| Row {
                holder,
                beats,
                since: Instant::now(),
                is_touched: false,
            });
            row.is_touched |= row.beats != beats;
            is_open |= !row.is_known();
        }
        if !is_open || began.elapsed() >= WATCH_MAX {
            break;
        }
        sleep(POLL_INTERVAL).await;
    }
    let touched = rows.values().filter(|row| row.is_touched);
    let alive: HashSet<&Holder> = touched.map(|row| &row.holder).collect();
    let known = rows.iter().filter(|(_, row)| row.is_known());
    let watched = known.map(|(id, row)| Watched {
        submission_id: *id,
        found: if row.is_touched {
            WatchResult::AppWaits
        } else if alive.contains(&row.holder) {
            WatchResult::AppLeft
        } else {
            WatchResult::ProcessEnded
        },
    });
    Ok(watched.collect())
}
