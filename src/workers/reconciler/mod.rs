//! Finds what no callback reported: polls EvoLink about overdue tasks, and ends submits that were
//! interrupted. The recorder stores the answers, like any observation.
//!
//! The steps are: scan for due tasks, wait for the rate limit, claim one, and poll EvoLink. Tasks
//! go through these steps one after the other, except that several polls run concurrently. So one
//! slow answer does not delay the others.

mod reply;
mod scan;
#[cfg(test)]
mod tests;
mod unknown;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::breaker::{Breaker, CallOutcome, Change, Pauses, Permit};
use super::polled;
use super::run_loop::{Progress, Worker, joined, pause};
use crate::clock::Clock;
use crate::domain::ids::SubmissionId;
use crate::domain::task::polling::Pace;
use crate::domain::timestamp::Timestamp;
use crate::evolink::{EvolinkClient, PollReply, RateLimits};
use crate::observe::metrics::Metrics;
use crate::store::read::overdue::DueTask;
use crate::store::recorder::Recorder;
use crate::store::recorder::calls::Claim;
use crate::store::recorder::entry::PollEnded;
use crate::store::{Store, StoreError};
use scan::Found;
use unknown::UnknownTasks;

/// The pause when nothing is due, or when EvoLink must not be polled.
const INTERVAL: Duration = Duration::from_millis(500);

/// The pause after the store failed.
const BACK_OFF: Duration = Duration::from_secs(5);

/// The pauses between polls that probe whether EvoLink works again.
const PAUSES: Pauses = Pauses {
    min: Duration::from_secs(5),
    max: Duration::from_mins(1),
};

/// The maximum number of polls at the same time. With answers that take 1.5 s, this still allows
/// ten polls per second.
const POLLS_AT_ONCE: usize = 16;

/// The time beyond EvoLink's timeout in which its answer must be recorded.
const LEASE_GRACE: Duration = Duration::from_secs(10);

/// The dependencies of a reconciler.
#[derive(Debug)]
pub struct Dependencies {
    pub store: Arc<Store>,
    pub recorder: Recorder,
    pub evolink: Arc<EvolinkClient>,
    pub rate_limits: Arc<RateLimits>,
    pub clock: Clock,
    pub metrics: Metrics,
    pub pace: Pace,
    /// `evolink.timeout`.
    pub evolink_timeout: Duration,
    /// Cancelled when no more polls may begin.
    pub stop: CancellationToken,
    /// Cancelled when unanswered polls must be abandoned.
    pub giving_up: CancellationToken,
}

#[derive(Debug)]
pub struct Reconciler {
    dependencies: Dependencies,
    started_at: Timestamp,
    breaker: Mutex<Breaker<SubmissionId>>,
    unknown: Mutex<UnknownTasks>,
}

/// The reconciler with the polls that it has under way.
pub struct ReconcilerWorker {
    reconciler: Arc<Reconciler>,
    found: Found,
    polls: JoinSet<()>,
}

/// A poll that this replica has claimed.
struct Poll {
    task: DueTask,
    permit: Permit,
    /// Whether the task is given up if this poll reports no outcome.
    is_last: bool,
}

/// The next poll, if there is one.
enum NextPoll {
    Poll(Poll),
    /// Nothing is due, or EvoLink must not be polled now.
    Wait,
    /// The scan for due tasks was cut off by a stop.
    CutOff,
}

/// The result of trying to begin a poll.
enum Begun {
    Poll(Poll),
    /// The task is no longer due: its callback came, another replica claimed it, or it was given
    /// up.
    Over,
    /// EvoLink must not be polled now, about any task.
    Wait,
}

impl Reconciler {
    pub fn new(dependencies: Dependencies) -> Self {
        Self {
            started_at: dependencies.clock.now(),
            dependencies,
            breaker: Mutex::new(Breaker::new(PAUSES)),
            unknown: Mutex::default(),
        }
    }

    pub fn worker(self) -> ReconcilerWorker {
        ReconcilerWorker {
            reconciler: Arc::new(self),
            found: Found::default(),
            polls: JoinSet::new(),
        }
    }

    async fn try_next_poll(&self, found: &mut Found) -> Result<NextPoll, StoreError> {
        let stop = &self.dependencies.stop;
        // Interrupting `prepare` loses nothing. A claim is not interrupted, because then no replica
        // would poll the task until the lease ends.
        while let Some(is_any_due) = stop.run_until_cancelled(self.prepare(found)).await {
            if !is_any_due? {
                return Ok(NextPoll::Wait);
            }
            let mut refused = None;
            while let Some(task) = found.due.pop_front() {
                let submission_id = task.submission_id;
                match self.begin(task).await {
                    Ok(Begun::Poll(poll)) => {
                        found.any_begun = true;
                        return Ok(NextPoll::Poll(poll));
                    }
                    Ok(Begun::Over) => {}
                    Ok(Begun::Wait) => return Ok(NextPoll::Wait),
                    // One row may be the cause. It is passed over, and the others are polled.
                    Err(error) if error.may_be_one_entry() => {
                        Self::report_impossible(&mut found.reported, &error);
                        found.unreadable += 1;
                        found.passed_over.insert(submission_id);
                        self.dependencies.metrics.tasks_unreadable(found.unreadable);
                        refused = Some(error);
                    }
                    Err(error) => return Err(error),
                }
            }
            // Every due task was refused, and not because its row is impossible.
            if let (false, Some(error @ StoreError::Sql(_))) = (found.any_begun, refused) {
                return Err(error);
            }
            // If no poll could begin, wait before the next scan.
            if !found.any_begun {
                return Ok(NextPoll::Wait);
            }
        }
        Ok(NextPoll::CutOff)
    }

    /// Scans for due tasks if none are left from the last scan, then waits for the rate limit.
    /// Returns whether any task is due.
    async fn prepare(&self, found: &mut Found) -> Result<bool, StoreError> {
        if found.due.is_empty() {
            self.scan(found).await?;
        }
        if found.due.is_empty() {
            return Ok(false);
        }
        // Wait before the claim, because the lease must cover EvoLink's answer.
        self.dependencies.rate_limits.wait_for_poll().await;
        Ok(true)
    }

    async fn begin(&self, task: DueTask) -> Result<Begun, StoreError> {
        let now = self.dependencies.clock.now();
        let running = now.since(self.started_at);
        let is_last = task.has_had_its_time(&self.dependencies.pace, running, now);
        let (permit, evolink_fails) = {
            let mut breaker = self.breaker();
            (breaker.permit(now), breaker.is_open())
        };
        if permit == Permit::Denied {
            // A task is polled once more before it is given up, unless EvoLink answers no polls.
            if is_last && evolink_fails {
                self.give_up(&task).await?;
                return Ok(Begun::Over);
            }
            return Ok(Begun::Wait);
        }
        let claimed = self.claim(task.submission_id).await;
        if !matches!(claimed, Ok(true)) {
            self.breaker().give_back(permit);
        }
        Ok(if claimed? {
            Begun::Poll(Poll {
                task,
                permit,
                is_last,
            })
        } else {
            Begun::Over
        })
    }

    /// Claims the poll of a task. Returns whether this replica got it. If this replica dies before
    /// it has an answer, another one polls the task after the lease.
    async fn claim(&self, submission_id: SubmissionId) -> Result<bool, StoreError> {
        let lease = self.dependencies.evolink_timeout + LEASE_GRACE;
        let claiming = self.dependencies.recorder.claim_poll(submission_id, lease);
        Ok(claiming.await? == Claim::Ours)
    }

    /// Polls EvoLink about one task, and records the answer.
    async fn poll(&self, poll: Poll) {
        let (id, task_id) = (poll.task.submission_id, &poll.task.task_id);
        let replying = self.dependencies.evolink.poll_submission(id, task_id);
        let Some(reply) = self
            .dependencies
            .giving_up
            .run_until_cancelled(replying)
            .await
        else {
            // Release the claim, so that no replica has to wait for the lease to end.
            let ended = PollEnded::PutOff(Duration::ZERO);
            reply::log_failure(self.dependencies.recorder.end_poll(id, ended).await);
            return;
        };
        polled::count(&self.dependencies.metrics, &reply);
        reply::log(&reply, task_id);
        let outcome = reply::call_outcome(&reply);
        let evolink_fails = self.report_to_breaker(outcome, &poll);
        let reply = self.believed(reply, &poll.task);
        let recorded = reply::record(&self.dependencies.recorder, id, reply, evolink_fails).await;
        reply::log_failure(recorded);
        if poll.is_last
            && let Err(error) = self.give_up(&poll.task).await
        {
            error!(error = %error, "could not record that a task is given up; trying again");
        }
    }

    /// Reports the outcome of a poll to the breaker. Returns whether EvoLink now fails as a whole.
    fn report_to_breaker(&self, outcome: CallOutcome, poll: &Poll) -> bool {
        if let CallOutcome::Throttled(pause) = outcome {
            warn!(pause_ms = pause.as_millis(), "EvoLink throttles our polls");
        }
        let now = self.dependencies.clock.now();
        let mut breaker = self.breaker();
        let change = breaker.record(outcome, poll.task.submission_id, poll.permit, now);
        let is_open = breaker.is_open();
        match change {
            Some(Change::Opened) => {
                warn!("EvoLink answers no poll; probing with one task at a time until it does");
            }
            Some(Change::Closed) => info!("EvoLink answers polls again"),
            None => {}
        }
        self.dependencies.metrics.polls_suspended(is_open);
        is_open
    }

    /// Returns `reply`, or a failure if EvoLink says that it does not know the task and is not
    /// believed.
    fn believed(&self, reply: PollReply, task: &DueTask) -> PollReply {
        let now = self.dependencies.clock.now();
        let mut unknown = self.unknown.lock().unwrap_or_else(PoisonError::into_inner);
        let reply = reply::believed(reply, task, &mut unknown, now);
        self.dependencies
            .metrics
            .unknown_tasks_doubted(unknown.is_doubted());
        reply
    }

    /// Stops polling a task, which becomes unresolved. Does nothing if the task has its outcome by
    /// now.
    async fn give_up(&self, task: &DueTask) -> Result<(), StoreError> {
        let submission_id = task.submission_id;
        info!(task.id = %task.task_id, "no outcome within reconcile.give_up_after; the task is unresolved and is not polled any more");
        self.dependencies.recorder.give_up(submission_id).await
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker<SubmissionId>> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Worker for ReconcilerWorker {
    const WORK: &'static str = "the reconciler";
    const BACK_OFF: Duration = BACK_OFF;
    type Error = StoreError;

    async fn tick(&mut self, stop: &CancellationToken) -> Result<Progress, StoreError> {
        while let Some(ended) = self.polls.try_join_next() {
            joined(ended);
        }
        if self.polls.len() >= POLLS_AT_ONCE {
            let ended = stop.run_until_cancelled(self.polls.join_next()).await;
            ended.flatten().and_then(joined);
        }
        if stop.is_cancelled() {
            return Ok(Progress::Unneeded);
        }
        let next = self.reconciler.try_next_poll(&mut self.found).await;
        if let Ok(NextPoll::Poll(poll)) = next {
            let reconciler = Arc::clone(&self.reconciler);
            self.polls.spawn(async move { reconciler.poll(poll).await });
            return Ok(Progress::More);
        }
        self.found.due.clear();
        next.map(|next| match next {
            NextPoll::CutOff => Progress::Unneeded,
            NextPoll::Poll(_) | NextPoll::Wait => Progress::Idle,
        })
    }

    async fn wake_up(&mut self) {
        pause(INTERVAL).await;
    }

    async fn finish(mut self) {
        while let Some(ended) = self.polls.join_next().await {
            joined(ended);
        }
    }
}
