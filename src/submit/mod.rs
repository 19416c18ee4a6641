//! The use case of a submit, from its intent to its outcome. It knows no HTTP.
//!
//! The intent is on the disk before EvoLink is called, and every reply of EvoLink is recorded. A
//! second paid call is never made: if a submit is not known to be refused, its outcome counts as
//! unknown.

mod earlier;
mod intent;
mod outcome;
mod recording;
mod sending;
mod watching;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::info;

use crate::clock::Clock;
use crate::config::Public;
use crate::domain::callback::KeyRing;
use crate::domain::generation::Generation;
use crate::domain::ids::SubmissionId;
use crate::domain::key_use::KeyLimits;
use crate::evolink::{EvolinkClient, RateLimits, SubmitPermit};
use crate::observe::metrics::Metrics;
use crate::store::Store;
use crate::store::recorder::Recorder;
use crate::store::recorder::calls::Intended;
use crate::store::recorder::entry::Idempotency;
use crate::task_object::TaskObjects;
pub use outcome::{Accepted, Earlier, KeyRejection, Outcome};

/// How long a second request with the same `Idempotency-Key` waits for the first.
const REPLAY_WAIT: Duration = Duration::from_secs(5);

/// Pause before another attempt with a key that was just freed.
const REPLAY_PAUSE: Duration = Duration::from_millis(50);

/// How long a submit waits for a permit of the rate limit.
const RATE_LIMIT_WAIT: Duration = Duration::from_secs(5);

/// Time from the request to the receipt of its first intent. After it the app gets a 503, and
/// nothing is sent. A retry gets at least half of it.
const INTEND_WAIT: Duration = Duration::from_secs(6);

/// Maximum number of retries for a submit that may be a repeat. Each retry follows new information
/// about an equal submit.
const GUARDED_TRIES_MAX: u32 = 4;

/// The parts that submits use. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Submits {
    pub store: Arc<Store>,
    pub recorder: Recorder,
    pub evolink: Arc<EvolinkClient>,
    pub rate_limits: Arc<RateLimits>,
    pub key_ring: Arc<KeyRing>,
    /// Has the public base URL, from which callback URLs are built.
    pub public: Arc<Public>,
    pub task_objects: TaskObjects,
    pub clock: Clock,
    pub metrics: Metrics,
    /// Submits run here and not in their request, so that a client that disconnects does not leave
    /// a submit half recorded.
    pub running: TaskTracker,
    /// Cancelled when the process begins to stop. From then on new submits are refused.
    pub stopping: CancellationToken,
    /// Cancelled when only enough time is left to record unanswered submits as unknown.
    pub giving_up: CancellationToken,
    /// `evolink.timeout`.
    pub evolink_timeout: Duration,
    /// `submits.repeat_window`; zero turns the repeat guard off.
    pub repeat_window: Duration,
}

/// A well-formed submit.
#[derive(Clone, Debug)]
pub struct Submission {
    pub generation: Generation,
    pub client: Option<String>,
    /// The limits of the API key.
    pub limits: KeyLimits,
    /// What the app calls the task. A repeat of the submit may call it otherwise.
    pub reference: Option<String>,
    pub idempotency: Option<Idempotency>,
}

/// Cancelled when the app of a submit has disconnected. Nothing is sent for it afterwards.
pub type Disconnected = CancellationToken;

/// One submit that is being processed.
struct Running<'a> {
    submits: &'a Submits,
    submission: &'a Submission,
    id: SubmissionId,
    disconnected: &'a Disconnected,
}

impl Submits {
    /// Whether the repeat guard applies to the submit.
    pub const fn is_guarded(&self, submission: &Submission) -> bool {
        submission.idempotency.is_none() && !self.repeat_window.is_zero()
    }

    /// Processes a submit to its end as submission `id`, and counts how it ended.
    pub async fn run(
        &self,
        submission: &Submission,
        id: SubmissionId,
        disconnected: &Disconnected,
    ) -> Outcome {
        let running = Running {
            submits: self,
            submission,
            id,
            disconnected,
        };
        let outcome = running.decide().await.unwrap_or_else(|outcome| outcome);
        if matches!(outcome, Outcome::Abandoned) {
            info!(submission.id = %id, "the app disconnected before its submit was sent; it is not sent");
        }
        self.metrics
            .submit_ended(outcome.end(), submission.generation.kind);
        outcome
    }
}

impl Running<'_> {
    /// Finds out whether to send the submit, and does so. `Err` is an outcome too.
    async fn decide(&self) -> Result<Outcome, Outcome> {
        let began = Instant::now();
        let permit = self.wait_for_rate_limit().await?;
        let mut guard = self.guard();
        let mut intend_by = began + INTEND_WAIT;
        let mut guarded_tries = 0;
        let replay_by = Instant::now() + REPLAY_WAIT;
        loop {
            if self.submits.stopping.is_cancelled() || guarded_tries > GUARDED_TRIES_MAX {
                return Err(Outcome::NotDecided);
            }
            match self.intend(guard.as_ref(), intend_by).await? {
                Intended::Fresh => {
                    permit.use_up();
                    return Ok(self.send().await);
                }
                Intended::LimitReached(reached) => return Err(Outcome::LimitReached(reached)),
                Intended::Clash => return Err(Outcome::KeyReused),
                Intended::Replay(first) => {
                    if let Some(outcome) = self.replay(first, replay_by).await? {
                        return Ok(outcome);
                    }
                    // The first submit was refused, which frees the key, so this one is a new
                    // attempt. The pause prevents spinning while the key still exists.
                    if Instant::now() >= replay_by {
                        return Err(Outcome::KeyInFlight);
                    }
                    sleep(REPLAY_PAUSE).await;
                }
                Intended::Repeat { first, is_orphan } => {
                    info!(submission.id = %first, repeat.id = %self.id, "a submit repeats {first}, whose answer its app never received; it is not sent");
                    if let Some(outcome) = self.repeat(first, is_orphan).await? {
                        return Ok(outcome);
                    }
                    guarded_tries += 1;
                }
                Intended::Unsure => {
                    guard = self.watch_equal_submits(guard).await?;
                    guarded_tries += 1;
                }
            }
            intend_by = intend_by.max(Instant::now() + INTEND_WAIT / 2);
        }
    }

    /// Rate-limits before recording, so that a rejected flood writes no rows.
    async fn wait_for_rate_limit(&self) -> Result<SubmitPermit<'_>, Outcome> {
        let key = Arc::from(self.submission.client.as_deref().unwrap_or_default());
        let permit = (self.submits.rate_limits).wait_for_submit(&key, RATE_LIMIT_WAIT);
        let permit = self.disconnected.run_until_cancelled(permit);
        match self.submits.stopping.run_until_cancelled(permit).await {
            Some(Some(Some(permit))) => Ok(permit),
            Some(Some(None)) => Err(Outcome::RateLimited),
            Some(None) => Err(Outcome::Abandoned),
            None => Err(Outcome::NotDecided),
        }
    }
}
