//! Deletes what was kept for as long as the configuration says: in small batches, through the
//! recorder, one kind of row after the other. Between the batches it pauses, so that callbacks come
//! first.
//!
//! Each process has a janitor. A lease in the store makes one of them delete at a time.

mod export;
mod pass;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::run_loop::{Progress, Worker, pause};
use crate::clock::Clock;
use crate::domain::delivery::Holder;
use crate::domain::timestamp::Timestamp;
use crate::observe::metrics::Metrics;
use crate::store::Store;
use crate::store::recorder::Recorder;
use crate::store::retention::{Deleted, JanitorState, OldRows, Retention};
pub use export::{Export, ExportError};
use pass::Pass;

/// The time between two passes over all kinds of rows.
const INTERVAL: Duration = Duration::from_mins(10);

/// How often a janitor looks whether a pass is due.
const POLL_INTERVAL: Duration = Duration::from_secs(20);

const BACK_OFF: Duration = Duration::from_mins(1);

/// The pause after a batch, as a multiple of the time that it took. It is capped, because a busy
/// store must be swept too.
const PAUSES_PER_BATCH: u32 = 3;
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// The time since the last pass, or since the newest event, from which the clock is not believed at
/// once. A machine may have started with a clock that is years ahead.
const GAP_MAX: Duration = Duration::from_hours(7 * 24);

/// How long nothing is deleted after such a gap. An operator may correct the clock meanwhile.
const GAP_WAIT: Duration = Duration::from_hours(24);

/// The dependencies of a janitor.
#[derive(Debug)]
pub struct Dependencies {
    pub store: Arc<Store>,
    pub recorder: Recorder,
    pub clock: Clock,
    pub metrics: Metrics,
    /// The lease holder id of this process.
    pub holder: Holder,
    pub retention: Retention,
    /// How long after its start this process does not delete in a store where no janitor has worked
    /// yet.
    pub first_after: Duration,
    /// Where tasks are exported to before they are deleted.
    pub export: Option<Export>,
}

#[derive(Debug)]
pub struct Janitor {
    dependencies: Dependencies,
    started_at: Instant,
    /// The pass under way.
    pass: Option<Pass>,
    /// When this process first saw a gap after the last known time, and the end of the gap.
    gap_seen_at: Option<Timestamp>,
}

impl Janitor {
    pub fn new(dependencies: Dependencies) -> Self {
        Self {
            dependencies,
            started_at: Instant::now(),
            pass: None,
            gap_seen_at: None,
        }
    }

    /// Begins a pass if one is due. Another process may have made the last one.
    async fn begin(&mut self) -> Result<bool, ExportError> {
        let state = self.dependencies.store.janitor_state().await?;
        let now = self.dependencies.clock.now();
        let is_due = state
            .ran_at
            .is_none_or(|ran_at| now < ran_at || now.since(ran_at) >= INTERVAL);
        let is_first = state.ran_at.is_none();
        let is_early = is_first && self.started_at.elapsed() < self.dependencies.first_after;
        if !is_due || is_early || self.must_wait(&state, now) {
            return Ok(false);
        }
        let cutoffs = self.dependencies.retention.cutoffs(now);
        let pass = Pass::new(cutoffs);
        // Takes the lease.
        let is_ours = pass.delete(&self.dependencies, OldRows::None).await? != Deleted::NotOurs;
        self.pass = is_ours.then_some(pass);
        Ok(is_ours)
    }

    /// Returns whether nothing may be deleted yet, because the clock may be wrong.
    fn must_wait(&mut self, state: &JanitorState, now: Timestamp) -> bool {
        let gap = state.last_known_time.map(|known| now.since(known));
        let gap = gap.filter(|gap| *gap > GAP_MAX);
        let metrics = &self.dependencies.metrics;
        let Some(gap) = gap else {
            self.gap_seen_at = None;
            metrics.retention_paused(false);
            return false;
        };
        let is_new = self.gap_seen_at.is_none();
        let since = *self.gap_seen_at.get_or_insert(now);
        let waits = now.since(since) < GAP_WAIT;
        if is_new {
            let days = gap.as_secs() / (24 * 60 * 60);
            warn!(
                days,
                "the clock is {days} days after the last time that the store knows: nothing is deleted until this process has \
                 run for 24 h; if the clock is wrong, stop the process and correct it"
            );
        }
        metrics.retention_paused(waits);
        waits
    }

    /// Does one bounded step. Returns whether the pass goes on.
    async fn step(&mut self) -> Result<bool, ExportError> {
        let Some(pass) = &mut self.pass else {
            return self.begin().await;
        };
        if pass.step(&self.dependencies).await? {
            return Ok(true);
        }
        if pass.is_complete() {
            let now = self.dependencies.clock.now();
            self.dependencies.metrics.retention_ran(now);
            if let Some(done) = pass.report() {
                info!("deleted what was kept for long enough: {done}");
            }
        }
        self.pass = None;
        Ok(false)
    }
}

impl Worker for Janitor {
    const WORK: &'static str = "the deletion of old rows";
    const BACK_OFF: Duration = BACK_OFF;
    type Error = ExportError;

    async fn tick(&mut self, stop: &CancellationToken) -> Result<Progress, ExportError> {
        let began = Instant::now();
        let Some(stepped) = stop.run_until_cancelled(self.step()).await else {
            return Ok(Progress::Unneeded);
        };
        let goes_on = stepped.inspect_err(|error| {
            self.pass = None;
            if matches!(error, ExportError::File { .. }) {
                self.dependencies.metrics.retention_paused(true);
            }
        })?;
        if !goes_on {
            return Ok(Progress::Idle);
        }
        let rest = (began.elapsed() * PAUSES_PER_BATCH).min(PAUSE_MAX);
        stop.run_until_cancelled(sleep(rest)).await;
        Ok(Progress::More)
    }

    async fn wake_up(&mut self) {
        pause(POLL_INTERVAL).await;
    }
}
