//! Interprets EvoLink's answer to a poll for the recorder, the breaker, the log and the metrics.

use std::time::Duration;

use http::HeaderMap;
use tracing::{error, info, warn};

use super::unknown::{Change, UnknownTasks};
use crate::domain::callback::Subject;
use crate::domain::ids::{SubmissionId, TaskId};
use crate::domain::observation::Source;
use crate::domain::timestamp::Timestamp;
use crate::evolink::PollReply;
use crate::store::StoreError;
use crate::store::read::overdue::DueTask;
use crate::store::recorder::Recorder;
use crate::store::recorder::entry::PollEnded;
use crate::workers::breaker::CallOutcome;

/// The back-off period after a 429 without `Retry-After`.
const THROTTLE_PAUSE: Duration = Duration::from_secs(10);

/// Returns what the answer says about EvoLink as a whole. An answer that the task is unknown also
/// shows that EvoLink works.
pub fn call_outcome(reply: &PollReply) -> CallOutcome {
    match reply {
        PollReply::Seen(_) | PollReply::Gone => CallOutcome::Answer,
        PollReply::Throttled { retry_after } => {
            CallOutcome::Throttled(retry_after.unwrap_or(THROTTLE_PAUSE))
        }
        PollReply::Failed { .. } | PollReply::Unreadable { .. } => CallOutcome::Failure,
    }
}

/// Logs the answer.
pub fn log(reply: &PollReply, task_id: &TaskId) {
    match reply {
        PollReply::Seen(observation) => {
            info!(task.id = %task_id, status = observation.status.as_str(), "polled a task");
        }
        PollReply::Gone => warn!(task.id = %task_id, "EvoLink does not know a task"),
        PollReply::Throttled { .. } => {}
        PollReply::Failed { reason } | PollReply::Unreadable { reason, .. } => {
            warn!(task.id = %task_id, reason, "could not poll a task; polling it again later");
        }
    }
}

/// Returns `reply`, or a failure if EvoLink says that it does not know the task and is not
/// believed.
pub fn believed(
    reply: PollReply,
    task: &DueTask,
    unknown: &mut UnknownTasks,
    now: Timestamp,
) -> PollReply {
    match &reply {
        PollReply::Seen(seen) if seen.task_id == task.task_id => {
            if unknown.known() == Some(Change::Believed) {
                info!("EvoLink knows a task again; its answers about unknown tasks count again");
            }
            reply
        }
        // EvoLink did not know an unresolved task before either, so this says nothing new about
        // EvoLink.
        PollReply::Gone if !task.is_rare => {
            let change = unknown.unknown(task.submission_id, now);
            if change == Some(Change::Doubted) {
                warn!(
                    "EvoLink knows none of several tasks; not believing it until it knows one: check \
                     evolink.base_url, and to which account the API key belongs"
                );
            }
            if unknown.is_doubted() {
                let reason = "EvoLink knows none of several tasks".to_owned();
                return PollReply::Failed { reason };
            }
            reply
        }
        PollReply::Seen(_)
        | PollReply::Gone
        | PollReply::Throttled { .. }
        | PollReply::Failed { .. }
        | PollReply::Unreadable { .. } => reply,
    }
}

/// Records a reply. If EvoLink fails as a whole (`evolink_fails`) or throttles, that is not about
/// the task, and the poll is not counted.
///
/// # Errors
/// The reason why it is not recorded.
pub async fn record(
    recorder: &Recorder,
    id: SubmissionId,
    reply: PollReply,
    evolink_fails: bool,
) -> Result<(), StoreError> {
    let subject = Subject::Submission(id);
    let (source, headers) = (Source::Poll, HeaderMap::new());
    // The next poll follows after this pause, or later if the pace requires it.
    let pause = match call_outcome(&reply) {
        CallOutcome::Throttled(pause) => Some(pause),
        CallOutcome::Failure if evolink_fails => Some(Duration::ZERO),
        CallOutcome::Failure | CallOutcome::Answer => None,
    };
    match (reply, pause) {
        (_, Some(pause)) => recorder.end_poll(id, PollEnded::PutOff(pause)).await,
        (PollReply::Seen(observation), None) => {
            let observing = recorder.observe(subject, observation, source, headers);
            observing.await.map(drop)
        }
        (PollReply::Unreadable { body, reason }, None) => {
            let keeping = recorder.keep_in_quarantine(subject, source, body, reason, headers);
            keeping.await
        }
        (PollReply::Gone, None) => recorder.end_poll(id, PollEnded::Gone).await,
        (PollReply::Throttled { .. } | PollReply::Failed { .. }, None) => {
            recorder.end_poll(id, PollEnded::Failed).await
        }
    }
}

/// Logs that a fact was not recorded. The next scan finds it again.
pub fn log_failure<T>(recorded: Result<T, StoreError>) {
    if let Err(error) = recorded {
        error!(error = %error, "could not record the result of a poll; the next scan finds the task again");
    }
}
