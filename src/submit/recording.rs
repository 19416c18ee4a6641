//! Records the result of a submit. EvoLink may have charged it. So if the store refuses the record,
//! this retries with growing pauses until it succeeds, minutes have passed, or the process ends.
//! The app does not wait that long.

use std::fmt::Debug;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use tracing::{Instrument as _, error, info, warn};

use super::Submits;
use crate::domain::ids::{SubmissionId, TaskId};
use crate::pauses::growing_until;
use crate::store::StoreError;
use crate::store::recorder::entry::SubmitEnded;

/// How long the app waits for the record.
const APP_WAIT: Duration = Duration::from_secs(5);

/// How long recording the result of a sent submit is retried. A longer outage of the store loses no
/// further results: submits that arrive during the outage fail before they are sent.
const RECORD_FOR: Duration = Duration::from_mins(5);

const PAUSE_MIN: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(15);

/// Maximum number of submits that are being sent or recorded. Above it, failed records are not
/// retried.
const SUBMITS_MAX: usize = 4096;

/// The same limit for withdrawals. An outage of the store leaves one for each submit that it
/// refuses, and results come first.
const WITHDRAWALS_MAX: usize = SUBMITS_MAX / 2;

/// Records the end of submit `id` by `call`. If this returns an error, the retries continue in the
/// background.
///
/// # Errors
/// The reason why it is not recorded so far.
pub async fn record<T, F>(
    submits: &Submits,
    id: SubmissionId,
    task_id: Option<&TaskId>,
    call: impl Fn() -> F + Send + Sync + 'static,
) -> Result<T, StoreError>
where
    T: Debug + Send + 'static,
    F: Future<Output = Result<T, StoreError>> + Send + 'static,
{
    let what = What {
        id,
        task_id: task_id.cloned(),
        consequence: "if EvoLink accepted it, only its callback can",
        submits_max: SUBMITS_MAX,
    };
    let recording = retry(what, submits.clone(), call);
    let recording = submits.running.spawn(recording.in_current_span());
    match timeout(APP_WAIT, recording).await {
        Ok(ended) => ended.unwrap_or(Err(StoreError::Stopped)),
        Err(_) => Err(StoreError::TooSlow),
    }
}

/// Records the withdrawal of an intent in the same way, but in the background. If it stays, its app
/// cannot submit under its key.
pub fn withdraw(submits: &Submits, id: SubmissionId, ended: SubmitEnded) {
    let what = What {
        id,
        task_id: None,
        consequence: "it was not sent, and may show as a submit of unknown outcome",
        submits_max: WITHDRAWALS_MAX,
    };
    let recorder = submits.recorder.clone();
    let call = move || {
        let (recorder, ended) = (recorder.clone(), ended.clone());
        async move { recorder.end_submit(id, ended).await }
    };
    let recording = retry(what, submits.clone(), call);
    submits.running.spawn(recording.in_current_span());
}

/// One record, and how it is named in log lines.
struct What {
    id: SubmissionId,
    task_id: Option<TaskId>,
    /// The consequence if the record is never written.
    consequence: &'static str,
    /// Retries end when more submits than this are running.
    submits_max: usize,
}

async fn retry<T, F>(
    what: What,
    submits: Submits,
    call: impl Fn() -> F + Send + Sync,
) -> Result<T, StoreError>
where
    T: Debug,
    F: Future<Output = Result<T, StoreError>> + Send + 'static,
{
    let What {
        id,
        task_id,
        consequence,
        submits_max,
    } = what;
    let task_id = task_id.as_ref().map(TaskId::as_str);
    let deadline = Instant::now() + RECORD_FOR;
    let mut pauses = growing_until(deadline, PAUSE_MIN, PAUSE_MAX);
    let mut is_last = false;
    let mut tries = 1;
    loop {
        let error = match call().await {
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
            .filter(|_| !is_last && !error.is_fatal() && submits.running.len() <= submits_max);
        let Some(pause) = pause else {
            error!(submission.id = %id, task.id = task_id, tries, error = %error, "could not record the end of a submit; {consequence}");
            return Err(error);
        };
        if tries == 1 {
            warn!(submission.id = %id, task.id = task_id, error = %error, "the end of a submit is not recorded yet; it is tried again");
        }
        // A process that is about to end makes one last attempt.
        is_last = submits
            .giving_up
            .run_until_cancelled(sleep(pause))
            .await
            .is_none();
        tries += 1;
    }
}
