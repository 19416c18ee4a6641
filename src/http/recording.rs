//! Records what became of a submit. EvoLink may have charged it, so a store that refuses it now is asked again, with growing
//! pauses, until it takes it, minutes have passed, or the process ends. The app does not wait that long.

use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};
use tokio::time::{Instant, sleep, timeout};
use tracing::{Instrument as _, error, info, warn};

use super::internal::InternalState;
use crate::domain::ids::{SubmissionId, TaskId};
use crate::store::StoreError;
use crate::store::entry::{Entry, Receipt};

/// How long the app waits for it.
const APP_WAIT: Duration = Duration::from_secs(5);

/// A store that is away for longer has been so for all submits that came meanwhile: none of them was sent.
const RECORD_FOR: Duration = Duration::from_mins(5);

/// An intent that nobody will send costs nothing, and there is one for each submit that a store refuses.
const WITHDRAW_FOR: Duration = Duration::from_secs(5);

/// Each pause is by chance up to twice as long.
const PAUSE_MIN: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(15);

/// Submits under way and unrecorded ones: beyond so many, they are not waited for.
const SUBMITS_MAX: usize = 4096;

/// Records `entry`, and goes on with that when this has returned an error.
///
/// # Errors
/// What kept it from being recorded so far.
pub async fn record(
    state: &InternalState,
    id: SubmissionId,
    entry: Entry,
) -> Result<Receipt, StoreError> {
    let recording = record_for(RECORD_FOR, SENT, state.clone(), id, entry);
    let recording = state.submits.spawn(recording.in_current_span());
    match timeout(APP_WAIT, recording).await {
        Ok(ended) => ended.unwrap_or(Err(StoreError::Stopped)),
        Err(_) => Err(StoreError::TooSlow),
    }
}

/// The same for the withdrawal of an intent, for which nobody waits.
pub fn record_withdrawal(state: &InternalState, id: SubmissionId, entry: Entry) {
    let recording = record_for(WITHDRAW_FOR, NOT_SENT, state.clone(), id, entry);
    state.submits.spawn(recording.in_current_span());
}

/// What an end that is never recorded comes to.
const SENT: &str = "if EvoLink accepted it, only its callback can";
const NOT_SENT: &str = "it was not sent, and may show as a submit of unknown outcome";

async fn record_for(
    patience: Duration,
    consequence: &'static str,
    state: InternalState,
    id: SubmissionId,
    entry: Entry,
) -> Result<Receipt, StoreError> {
    let task_id = task_id_of(&entry).map(TaskId::as_str);
    let deadline = Instant::now() + patience;
    let mut pauses = ExponentialBuilder::default()
        .with_min_delay(PAUSE_MIN)
        .with_max_delay(PAUSE_MAX)
        .with_max_times(usize::MAX)
        .with_jitter()
        .build()
        .take_while(|pause| Instant::now() + *pause < deadline);
    let mut is_last = false;
    let mut tries = 1;
    loop {
        let error = match state.recorder.record(entry.clone()).await {
            Ok(receipt) => {
                if tries > 1 {
                    info!(submission.id = %id, task.id = task_id, tries, ?receipt, "the end of a submit is recorded after all");
                }
                return Ok(receipt);
            }
            Err(error) => error,
        };
        let pause = pauses
            .next()
            .filter(|_| !is_last && !error.is_fatal() && state.submits.len() <= SUBMITS_MAX);
        let Some(pause) = pause else {
            error!(submission.id = %id, task.id = task_id, tries, error = %error, "could not record the end of a submit; {consequence}");
            return Err(error);
        };
        if tries == 1 {
            warn!(submission.id = %id, task.id = task_id, error = %error, "the end of a submit is not recorded yet; it is tried again");
        }
        // A process that is to end gives it one last chance.
        is_last = state
            .giving_up
            .run_until_cancelled(sleep(pause))
            .await
            .is_none();
        tries += 1;
    }
}

/// As the operator needs it should all be in vain.
const fn task_id_of(entry: &Entry) -> Option<&TaskId> {
    match entry {
        Entry::Observed { observation, .. } => Some(&observation.task_id),
        _ => None,
    }
}
