//! Tells other processes that this one lives, as long as apps wait here, and repeats what the store
//! did not take.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::domain::ids::SubmissionId;
use crate::store::entry::Entry;
use crate::store::recorder::Recorder;

/// How often the rows of apps that have waited this long are touched. Most submits are answered
/// before the first time.
const BEAT: Duration = Duration::from_secs(1);

/// A process counts as dead if its rows have not changed for this long: it has missed several
/// beats. A batch may take 4 s (`BATCH_TIMEOUT`), so the rows of a slow process change within this
/// time too.
pub const DEAD_AFTER: Duration = Duration::from_secs(6);

/// Ends of apps that one beat repeats, so that a store that has failed for long gets them in turn.
const UNRECORDED_MAX: usize = 256;

/// Runs until `stop`. Writes nothing while no app waits. `is_shared`: other processes may have the
/// store open, too.
pub async fn keep_beating(recorder: Recorder, is_shared: bool, stop: CancellationToken) {
    while stop.run_until_cancelled(sleep(BEAT)).await.is_some() {
        let unrecorded = recorder.apps().unrecorded_for(BEAT, UNRECORDED_MAX);
        let mut entries: Vec<Entry> = unrecorded.into_iter().map(entry_of).collect();
        let waiting = recorder.apps().waiting_for(BEAT);
        if is_shared && !waiting.is_empty() {
            entries.push(Entry::AppsWait { waiting });
        }
        // What fails is repeated by the next beat.
        join_all(entries.into_iter().map(|entry| recorder.record(entry))).await;
    }
}

fn entry_of((submission_id, has_answer): (SubmissionId, bool)) -> Entry {
    if has_answer {
        Entry::AppAnswered { submission_id }
    } else {
        Entry::AppLost { submission_id }
    }
}
