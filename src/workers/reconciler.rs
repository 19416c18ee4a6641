//! Finds what no callback told: asks EvoLink about overdue tasks, and ends submits that were cut off in the middle.
//! Answers take the recorder's path, like any observation.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use http::HeaderMap;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::{Progress, pause, rest};
use crate::clock::Clock;
use crate::domain::callback_token::Subject;
use crate::domain::ids::{SubmissionId, TaskId};
use crate::domain::observation::Source;
use crate::domain::polling::Pace;
use crate::domain::timestamp::Timestamp;
use crate::evolink::{EvolinkClient, PollReply};
use crate::metrics::{Metrics, PollEnd};
use crate::store::entry::{Entry, PollEnded, Receipt, SubmitEnded};
use crate::store::overdue::DueTask;
use crate::store::recorder::Recorder;
use crate::store::{Store, StoreError};

/// How long an idle reconciler rests.
const INTERVAL: Duration = Duration::from_millis(500);

/// How long it rests after the store failed it.
const BACK_OFF: Duration = Duration::from_secs(5);

/// Tasks in one tick.
const BATCH: u32 = 32;

/// Questions under way at once.
const POLLS_AT_ONCE: usize = 4;

/// How long EvoLink is left in peace after a 429 that does not say.
const THROTTLE_PAUSE: Duration = Duration::from_secs(10);

/// Time beyond EvoLink's own timeout in which a submit must have been recorded, or was cut off.
const SUBMIT_GRACE: Duration = Duration::from_secs(30);

/// Time beyond EvoLink's own timeout in which its answer must have been recorded.
const LEASE_GRACE: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub struct Reconciler {
    pub store: Arc<Store>,
    pub recorder: Recorder,
    pub evolink: Arc<EvolinkClient>,
    pub clock: Clock,
    pub metrics: Metrics,
    pub pace: Pace,
    /// `evolink.timeout`.
    pub evolink_timeout: Duration,
    pub started_at: Timestamp,
    /// Set by a 429: EvoLink is not asked before.
    pub quiet_until: Timestamp,
}

impl Reconciler {
    /// Ticks until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            match stop.run_until_cancelled(self.tick()).await {
                Some(Ok(Progress::More)) | None => {}
                Some(Ok(Progress::Idle)) => rest(pause(INTERVAL), &stop).await,
                Some(Err(error)) => {
                    error!(error = %error, "the reconciler could not look for work");
                    rest(pause(BACK_OFF), &stop).await;
                }
            }
        }
    }

    /// # Errors
    /// If the store cannot be read. What could not be recorded is logged, and found again by the next tick.
    pub async fn tick(&mut self) -> Result<Progress, StoreError> {
        self.end_unanswered().await?;
        let now = self.clock.now();
        if now < self.quiet_until {
            return Ok(Progress::Idle);
        }
        let horizon = self.pace.horizon(now);
        let due = self.store.list_due(now, horizon, BATCH).await?;
        let found = due.len();
        // The rest of the batch is due still, and asked about after the pause.
        let throttled = AtomicBool::new(false);
        let pauses: Vec<Option<Duration>> = stream::iter(due)
            .map(|task| self.ask_unless(&throttled, task))
            .buffer_unordered(POLLS_AT_ONCE)
            .collect()
            .await;
        if let Some(pause) = pauses.into_iter().flatten().max() {
            self.quiet_until = self.clock.now().after(pause);
            warn!(pause_ms = pause.as_millis(), "EvoLink throttles our polls");
        }
        Ok(if found == BATCH as usize {
            Progress::More
        } else {
            Progress::Idle
        })
    }

    /// Submits that nobody will finish: their process ended between the intent and the answer.
    async fn end_unanswered(&self) -> Result<(), StoreError> {
        let (now, patience) = (self.clock.now(), self.evolink_timeout + SUBMIT_GRACE);
        let (before, beyond) = (now.before(patience), now.after(patience));
        let unanswered = self.store.list_unanswered(before, beyond, BATCH).await?;
        for submission_id in unanswered {
            warn!(submission.id = %submission_id, "a submit was cut off: whether EvoLink accepted it is unknown");
            self.record(Entry::SubmitEnded {
                submission_id,
                ended: SubmitEnded::Unknown,
            })
            .await;
        }
        Ok(())
    }

    async fn ask_unless(&self, throttled: &AtomicBool, due: DueTask) -> Option<Duration> {
        if throttled.load(Ordering::Relaxed) {
            return None;
        }
        let pause = self.ask(due).await;
        throttled.fetch_or(pause.is_some(), Ordering::Relaxed);
        pause
    }

    /// Asks about one task. `Some` if EvoLink wants to be left in peace for so long.
    async fn ask(&self, due: DueTask) -> Option<Duration> {
        let now = self.clock.now();
        let running = now.since(self.started_at);
        let is_over = due.has_had_its_time(&self.pace, running, now);
        let DueTask {
            submission_id,
            task_id,
            ..
        } = due;
        if is_over {
            warn!(task.id = %task_id, "no outcome in time: the task is unresolved");
            self.record(Entry::GaveUp { submission_id }).await;
            return None;
        }
        if !self.claim(submission_id).await {
            return None;
        }
        let reply = self.evolink.poll(&task_id).await;
        let (end, pause) = judge(&reply, &task_id);
        self.metrics.poll_ended(end);
        self.record(entry_of(submission_id, reply)).await;
        pause
    }

    /// Whether this replica is the one to ask. Should it end before it has an answer, another asks after the lease.
    async fn claim(&self, submission_id: SubmissionId) -> bool {
        let lease = self.evolink_timeout + LEASE_GRACE;
        let begun = Entry::PollBegun {
            submission_id,
            lease,
        };
        match self.recorder.record(begun).await {
            Ok(receipt) => receipt == Receipt::Done,
            Err(error) => {
                error!(error = %error, "could not claim a task to be asked about");
                false
            }
        }
    }

    async fn record(&self, entry: Entry) {
        if let Err(error) = self.recorder.record(entry).await {
            error!(error = %error, "could not record what the reconciler found");
        }
    }
}

/// How a poll ended, and how long EvoLink wants to be left in peace after it.
fn judge(reply: &PollReply, task_id: &TaskId) -> (PollEnd, Option<Duration>) {
    match reply {
        PollReply::Seen(observation) => {
            info!(task.id = %task_id, status = observation.status.as_str(), "EvoLink was asked about a task");
            (PollEnd::Seen, None)
        }
        PollReply::Gone => {
            warn!(task.id = %task_id, "EvoLink does not know a task");
            (PollEnd::Gone, None)
        }
        PollReply::Throttled { retry_after } => (
            PollEnd::Throttled,
            Some(retry_after.unwrap_or(THROTTLE_PAUSE)),
        ),
        PollReply::Failed { reason } | PollReply::Unreadable { reason, .. } => {
            warn!(task.id = %task_id, reason, "EvoLink could not be asked about a task");
            (PollEnd::Failed, None)
        }
    }
}

/// What a poll's reply is to the recorder.
fn entry_of(submission_id: SubmissionId, reply: PollReply) -> Entry {
    let subject = Subject::Submission(submission_id);
    let (source, headers) = (Source::Poll, HeaderMap::new());
    match reply {
        PollReply::Seen(observation) => Entry::Observed {
            subject,
            observation,
            source,
            headers,
        },
        PollReply::Unreadable { body, reason } => Entry::Unreadable {
            subject,
            source,
            body,
            reason,
            headers,
        },
        PollReply::Gone => Entry::PollEnded {
            submission_id,
            ended: PollEnded::Gone,
        },
        PollReply::Throttled { .. } | PollReply::Failed { .. } => Entry::PollEnded {
            submission_id,
            ended: PollEnded::Failed,
        },
    }
}
