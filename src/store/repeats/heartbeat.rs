//! The heartbeat of this process: shows other processes that it is alive while apps wait here, and
//! repeats entries that the store did not accept.

use std::time::Duration;

use futures_util::future::join_all;

use crate::domain::ids::SubmissionId;
use crate::store::recorder::Recorder;
use crate::store::recorder::entry::Entry;

/// The heartbeat interval. A row is touched once its app has waited this long. Most submits are
/// answered before that.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(1);

/// A process counts as dead if its rows have not changed for this long. A touch may wait for a
/// heartbeat (1 s), the batch in progress and its own batch (4 s each, `BATCH_TIMEOUT`). So the
/// rows of a slow process change within this time too.
pub const DEAD_AFTER: Duration = Duration::from_secs(10);

/// The limit of app ends that one heartbeat repeats. After a long failure the store receives them
/// in portions.
const UNRECORDED_MAX: usize = 256;

impl Recorder {
    /// Touches the rows of apps that have waited for a heartbeat, and repeats the ends of apps that
    /// were not recorded. `is_shared`: other processes may have the store open too.
    pub async fn send_heartbeat(&self, is_shared: bool) {
        let unrecorded = self
            .apps()
            .unrecorded_for(HEARTBEAT_INTERVAL, UNRECORDED_MAX);
        let mut entries: Vec<Entry> = unrecorded.into_iter().map(entry_of).collect();
        let waiting = self.apps().waiting_for(HEARTBEAT_INTERVAL);
        if is_shared && !waiting.is_empty() {
            entries.push(Entry::AppsWait { waiting });
        }
        // The next heartbeat repeats entries that fail.
        join_all(entries.into_iter().map(|entry| self.record(entry))).await;
    }
}

fn entry_of((submission_id, has_answer): (SubmissionId, bool)) -> Entry {
    if has_answer {
        Entry::AppAnswered { submission_id }
    } else {
        Entry::AppLost { submission_id }
    }
}
