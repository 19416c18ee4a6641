//! Finds what no callback told: asks EvoLink about overdue tasks, and ends submits that were cut off in the middle.
//! Answers take the recorder's path, like any observation.
//!
//! One line of work: look for what is due, wait for a turn at EvoLink, claim, and only then ask. Up to here one task comes
//! after the other; the asking itself goes on beside it, so that one slow answer holds up nobody.

mod look;
mod reply;
mod unknown;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::ready;
use futures_util::stream;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::breaker::{Breaker, Change, Heard, Leave, Pauses};
use super::pause;
use crate::clock::Clock;
use crate::domain::ids::SubmissionId;
use crate::domain::polling::Pace;
use crate::domain::timestamp::Timestamp;
use crate::evolink::{EvolinkClient, PollReply, RateLimits};
use crate::metrics::Metrics;
use crate::store::entry::{Entry, Receipt};
use crate::store::overdue::DueTask;
use crate::store::recorder::Recorder;
use crate::store::{Store, StoreError};
use look::Found;
use unknown::UnknownTasks;

/// How long it rests when nothing is due, or EvoLink is not to be asked.
const INTERVAL: Duration = Duration::from_millis(500);

/// How long it rests after the store failed it.
const BACK_OFF: Duration = Duration::from_secs(5);

/// Between polls that go to see whether EvoLink is there again.
const PAUSES: Pauses = Pauses {
    min: Duration::from_secs(5),
    max: Duration::from_mins(1),
};

/// Questions under way at once. With answers that take a second and a half it still asks ten times a second.
const POLLS_AT_ONCE: usize = 16;

/// Time beyond EvoLink's own timeout in which its answer must have been recorded.
const LEASE_GRACE: Duration = Duration::from_secs(10);

/// What a reconciler works with.
#[derive(Debug)]
pub struct Parts {
    pub store: Arc<Store>,
    pub recorder: Recorder,
    pub evolink: Arc<EvolinkClient>,
    pub rate_limits: Arc<RateLimits>,
    pub clock: Clock,
    pub metrics: Metrics,
    pub pace: Pace,
    /// `evolink.timeout`.
    pub evolink_timeout: Duration,
    /// No poll is begun any more.
    pub stop: CancellationToken,
    /// Polls that EvoLink has not answered are not waited for any longer.
    pub giving_up: CancellationToken,
}

#[derive(Debug)]
pub struct Reconciler {
    parts: Parts,
    started_at: Timestamp,
    breaker: Mutex<Breaker<SubmissionId>>,
    unknown: Mutex<UnknownTasks>,
}

/// A poll that is ours alone to make.
struct Poll {
    task: DueTask,
    leave: Leave,
    /// The task has had its time.
    is_last: bool,
}

/// What became of a task that was due.
enum Begun {
    Poll(Poll),
    /// It is not due any more: its callback came, another replica was quicker, or it was given up.
    Over,
    /// EvoLink is not to be asked now, about anything.
    Wait,
}

impl Reconciler {
    pub fn new(parts: Parts) -> Self {
        Self {
            started_at: parts.clock.now(),
            parts,
            breaker: Mutex::new(Breaker::new(PAUSES)),
            unknown: Mutex::default(),
        }
    }

    /// Works until `stop`, then ends what is under way.
    pub async fn run(self) {
        let this = Arc::new(self);
        let asking = Arc::clone(&this);
        stream::unfold((this, Found::default()), |(this, mut found)| async move {
            let poll = this.next_poll(&mut found).await?;
            Some((poll, (this, found)))
        })
        .map(|poll| {
            let this = Arc::clone(&asking);
            async move { this.ask(poll).await }
        })
        .buffer_unordered(POLLS_AT_ONCE)
        .for_each(ready)
        .await;
    }

    /// The next poll that is to be made now; rests until there is one. `None` once it is to stop.
    async fn next_poll(&self, found: &mut Found) -> Option<Poll> {
        let stop = &self.parts.stop;
        while !stop.is_cancelled() {
            let rest = match self.try_next_poll(found).await {
                Ok(Some(poll)) => return Some(poll),
                Ok(None) => INTERVAL,
                Err(error) => {
                    error!(error = %error, "the reconciler could not look for work");
                    BACK_OFF
                }
            };
            found.due.clear();
            stop.run_until_cancelled(sleep(pause(rest))).await;
        }
        None
    }

    /// `None` if nothing is due, EvoLink is not to be asked now, or it is to stop.
    async fn try_next_poll(&self, found: &mut Found) -> Result<Option<Poll>, StoreError> {
        let stop = &self.parts.stop;
        // What is cut off here can be done again. A claim is not cut off: nobody would ask before its lease is over.
        while let Some(is_any_due) = stop.run_until_cancelled(self.prepare(found)).await {
            if !is_any_due? {
                return Ok(None);
            }
            while let Some(task) = found.due.pop_front() {
                match self.begin(task).await? {
                    Begun::Poll(poll) => {
                        found.any_begun = true;
                        return Ok(Some(poll));
                    }
                    Begun::Over => {}
                    Begun::Wait => return Ok(None),
                }
            }
            // Where nothing could be begun, there is no hurry to look again.
            if !found.any_begun {
                return Ok(None);
            }
        }
        Ok(None)
    }

    /// Looks for what is due, if nothing is left of the last look, and waits for a turn at EvoLink. Whether anything is.
    async fn prepare(&self, found: &mut Found) -> Result<bool, StoreError> {
        if found.due.is_empty() {
            self.look(found).await?;
        }
        if found.due.is_empty() {
            return Ok(false);
        }
        // Before the claim: the lease is for EvoLink's answer.
        self.parts.rate_limits.poll().await;
        Ok(true)
    }

    async fn begin(&self, task: DueTask) -> Result<Begun, StoreError> {
        let now = self.parts.clock.now();
        let running = now.since(self.started_at);
        let is_last = task.has_had_its_time(&self.parts.pace, running, now);
        let (leave, evolink_fails) = {
            let mut breaker = self.breaker();
            (breaker.leave(now), breaker.is_open())
        };
        if leave == Leave::Wait {
            // Before it is given up a task is asked about once more, unless nobody would answer.
            if is_last && evolink_fails {
                self.give_up(&task).await?;
                return Ok(Begun::Over);
            }
            return Ok(Begun::Wait);
        }
        let claimed = self.claim(task.submission_id).await;
        if !matches!(claimed, Ok(true)) {
            self.breaker().give_back(leave);
        }
        Ok(if claimed? {
            Begun::Poll(Poll {
                task,
                leave,
                is_last,
            })
        } else {
            Begun::Over
        })
    }

    /// Whether this replica is the one to ask. Should it end before it has an answer, another asks after the lease.
    async fn claim(&self, submission_id: SubmissionId) -> Result<bool, StoreError> {
        let lease = self.parts.evolink_timeout + LEASE_GRACE;
        let begun = Entry::PollBegun {
            submission_id,
            lease,
        };
        Ok(self.parts.recorder.record(begun).await? == Receipt::Done)
    }

    /// Asks about one task, and records what EvoLink says.
    async fn ask(&self, poll: Poll) {
        let (id, task_id) = (poll.task.submission_id, &poll.task.task_id);
        let replying = self.parts.evolink.poll_submission(id, task_id);
        let Some(reply) = self.parts.giving_up.run_until_cancelled(replying).await else {
            // The claim is given back: whoever comes next need not wait until its lease is over.
            self.record(reply::put_off(id, Duration::ZERO)).await;
            return;
        };
        self.parts.metrics.poll_ended(reply::told(&reply, task_id));
        let heard = reply::heard(&reply);
        let evolink_fails = self.hear(heard, &poll);
        let reply = self.believed(reply, &poll.task);
        self.record(reply::entry(id, reply, evolink_fails)).await;
        if poll.is_last
            && let Err(error) = self.give_up(&poll.task).await
        {
            error!(error = %error, "could not record that a task is no longer asked about");
        }
    }

    /// Whether EvoLink fails as a whole, now that this was heard of it.
    fn hear(&self, heard: Heard, poll: &Poll) -> bool {
        if let Heard::Throttled(pause) = heard {
            warn!(pause_ms = pause.as_millis(), "EvoLink throttles our polls");
        }
        let now = self.parts.clock.now();
        let mut breaker = self.breaker();
        let change = breaker.hear(heard, poll.task.submission_id, poll.leave, now);
        let is_open = breaker.is_open();
        match change {
            Some(Change::Opened) => {
                warn!(
                    "EvoLink answers no poll: it is asked about one task at a time, until it does"
                );
            }
            Some(Change::Closed) => info!("EvoLink answers polls again"),
            None => {}
        }
        self.parts.metrics.polls_suspended(is_open);
        is_open
    }

    /// `reply`, or a failure if EvoLink is not believed when it does not know a task.
    fn believed(&self, reply: PollReply, task: &DueTask) -> PollReply {
        let now = self.parts.clock.now();
        let mut unknown = self.unknown.lock().unwrap_or_else(PoisonError::into_inner);
        let reply = reply::believed(reply, task, &mut unknown, now);
        self.parts
            .metrics
            .unknown_tasks_doubted(unknown.is_doubted());
        reply
    }

    /// Does nothing to a task that has its outcome by now.
    async fn give_up(&self, task: &DueTask) -> Result<(), StoreError> {
        let submission_id = task.submission_id;
        info!(task.id = %task.task_id, "a task has had its time: without an outcome it is unresolved");
        self.parts
            .recorder
            .record(Entry::GaveUp { submission_id })
            .await?;
        Ok(())
    }

    async fn record(&self, entry: Entry) {
        if let Err(error) = self.parts.recorder.record(entry).await {
            error!(error = %error, "could not record what the reconciler found");
        }
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker<SubmissionId>> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
