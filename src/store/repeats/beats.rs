//! Tells other processes that this one lives, as long as apps wait here, and repeats what the store
//! did not take.

use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::store::entry::Entry;
use crate::store::recorder::Recorder;

/// How often the rows of apps that have waited this long are touched. Most submits are answered
/// before the first time.
const BEAT: Duration = Duration::from_secs(1);

/// A process counts as dead if its rows have not changed for this long: it has missed several
/// beats. A batch may take 4 s (`BATCH_TIMEOUT`), so the rows of a slow process change within this
/// time too.
pub const DEAD_AFTER: Duration = Duration::from_secs(6);

/// Runs until `stop`. Writes nothing while no app waits. `is_shared`: other processes may have the
/// store open, too.
pub async fn keep_beating(recorder: Recorder, is_shared: bool, stop: CancellationToken) {
    while stop.run_until_cancelled(sleep(BEAT)).await.is_some() {
        for submission_id in recorder.apps().unrecorded_for(BEAT) {
            // If this fails, the next beat repeats it.
            let _ = recorder.record(Entry::AppAnswered { submission_id }).await;
        }
        let waiting = recorder.apps().waiting_for(BEAT);
        if is_shared && !waiting.is_empty() {
            let _ = recorder.record(Entry::AppsWait { waiting }).await;
        }
    }
}
