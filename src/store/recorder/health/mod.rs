//! The state of the recorder, for `/readyz`: how long its current step has taken, why its last
//! transaction failed, and when it last recorded something. A probe tests an idle recorder.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::connection::connected;
use super::{Recorder, RecorderWorker};
use crate::store::StoreError;

/// A step that takes longer is stuck. EvoLink waits 10 s for the answer to a callback, and two
/// batches must fit into that time.
const STUCK_AFTER: Duration = Duration::from_secs(4);

/// A recorder that has recorded something within this time needs no probe.
const FRESH: Duration = Duration::from_secs(3);

/// The least time between the starts of two probes, however often `/readyz` is requested.
const PROBE_INTERVAL: Duration = Duration::from_millis(500);

/// How long a failure that a probe cannot test counts after the last failed batch. A probe cannot
/// find out whether a batch would fit or be refused. After this time the service counts as ready,
/// so that a load balancer sends a request, which tests it.
const UNPROBED_MAX: Duration = Duration::from_secs(30);

/// The state of the recorder of this process. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct RecorderHealth(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// When the current step began. For a batch, when its oldest entry was queued. `None` while the
    /// recorder is idle.
    busy_since: Option<Instant>,
    /// Why the last transaction failed; `None` if it succeeded.
    failure: Option<Failure>,
    /// The end of the last transaction that succeeded.
    recorded_at: Option<Instant>,
    probed_at: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Failure {
    reason: &'static str,
    began_at: Instant,
    /// When a transaction last failed.
    seen_at: Instant,
}

/// The recorder's ability to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteState {
    /// No fault is known. `last` is the time since the last transaction.
    Working { last: Option<Duration> },
    /// The oldest entry has waited for this long.
    Stuck { waiting: Duration },
    /// No transaction has succeeded for `lasting`.
    Failing {
        reason: &'static str,
        lasting: Duration,
    },
}

impl WriteState {
    /// Returns whether transactions fail because the disk is full.
    pub fn is_for_full_disk(&self) -> bool {
        matches!(self, Self::Failing { reason: FULL, .. })
    }
}

/// A request to probe the recorder; answered after the attempt.
pub type Probe = oneshot::Sender<()>;

/// Creates the channel for probes. Its capacity is one, because a second probe would find the same.
pub fn probes() -> (mpsc::Sender<Probe>, mpsc::Receiver<Probe>) {
    mpsc::channel(1)
}

impl RecorderHealth {
    /// Returns what is known, without a probe.
    pub fn writing(&self) -> WriteState {
        let now = Instant::now();
        self.with(|state| {
            let waiting = state
                .busy_since
                .map(|since| now.saturating_duration_since(since));
            match (waiting, state.failure) {
                // Checked before `Stuck`. So a step that waits for the same cause again neither
                // changes the reason nor restarts the time.
                (_, Some(failure)) => WriteState::Failing {
                    reason: failure.reason,
                    lasting: now.saturating_duration_since(failure.began_at),
                },
                (Some(waiting), _) if waiting >= STUCK_AFTER => WriteState::Stuck { waiting },
                _ => WriteState::Working {
                    last: state
                        .recorded_at
                        .map(|at| now.saturating_duration_since(at)),
                },
            }
        })
    }

    /// Notes that a step begins, whose oldest entry has waited since `since`.
    pub fn step_started(&self, since: Instant) {
        self.with(|state| state.busy_since = Some(since));
    }

    /// Notes that the recorder is idle.
    pub fn became_idle(&self) {
        self.with(|state| state.busy_since = None);
    }

    /// Notes a success. Returns for how long transactions had failed, if they had.
    pub fn succeeded(&self) -> Option<Duration> {
        let now = Instant::now();
        self.with(|state| {
            state.recorded_at = Some(now);
            let failure = state.failure.take()?;
            Some(now.saturating_duration_since(failure.began_at))
        })
    }

    /// Notes a failure. Returns true if the previous transaction had succeeded.
    pub fn failed(&self, error: &StoreError) -> bool {
        let Some(reason) = reason(error) else {
            return false;
        };
        self.with(|state| {
            // A stopped recorder has stopped for the reason that is already known.
            if matches!(error, StoreError::Stopped) && state.failure.is_some() {
                return false;
            }
            let before = state.failure.map(|failure| failure.began_at);
            let seen_at = Instant::now();
            state.failure = Some(Failure {
                reason,
                // The failed batch may have waited before, so the failure began when it was queued.
                began_at: before.or(state.busy_since).unwrap_or(seen_at),
                seen_at,
            });
            before.is_none()
        })
    }

    /// Returns whether a successful probe shows that the last failure is over. `has_space` is
    /// `None` if the database is on a server.
    fn is_cleared_by_probe(&self, has_space: Option<bool>) -> bool {
        self.with(|state| {
            state
                .failure
                .is_none_or(|failure| match (failure.reason, has_space) {
                    (FULL, Some(has_space)) => has_space,
                    (FULL | EXHAUSTED, _) => failure.seen_at.elapsed() >= UNPROBED_MAX,
                    _ => true,
                })
        })
    }

    /// Returns whether a probe is due. If so, it counts as begun.
    fn starts_probe(&self) -> bool {
        let now = Instant::now();
        let is_within = |at: Option<Instant>, time: Duration| {
            at.is_some_and(|at| now.saturating_duration_since(at) < time)
        };
        self.with(|state| {
            let is_fresh = state.failure.is_none() && is_within(state.recorded_at, FRESH);
            let is_due = state.busy_since.is_none()
                && !is_fresh
                && !is_within(state.probed_at, PROBE_INTERVAL);
            if is_due {
                state.probed_at = Some(now);
            }
            is_due
        })
    }

    fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Recorder {
    pub const fn health(&self) -> &RecorderHealth {
        &self.health
    }

    /// Probes the recorder if it has recorded nothing lately. Waits for the result, at most for
    /// `patience`.
    pub async fn probe(&self, patience: Duration) {
        if !self.health.starts_probe() {
            return;
        }
        let (probe, tried) = oneshot::channel();
        if self.probes.try_send(probe).is_ok() {
            let _ = timeout(patience, tried).await;
        }
    }
}

impl RecorderWorker {
    /// Acquires the write lock and releases it. Writes nothing, and leaves nothing for the database
    /// to clean up.
    pub async fn probe(&mut self) {
        self.health.step_started(Instant::now());
        let limit = self.store.batch_timeout();
        let tried = in_time(limit, Box::pin(self.try_to_write())).await;
        if let Err(error) = &tried {
            self.disconnect().await;
            if error.is_fatal() {
                self.report_error(error);
            }
        }
        let has_space = (!self.store.is_shared()).then(|| !self.store.is_nearly_full());
        if tried.is_err() || self.health.is_cleared_by_probe(has_space) {
            self.update_health(tried.as_ref().err());
        }
        if tried.is_ok() && self.notify_pending {
            self.follow_up().await;
        }
        self.health.became_idle();
    }

    /// Opens the connection to a server before the first reader takes a slot there.
    pub async fn connect_first(&mut self) {
        if !self.store.is_shared() {
            return;
        }
        self.health.step_started(Instant::now());
        let limit = self.store.batch_timeout();
        let connecting = async {
            self.writer = Some(self.store.connect_writer().await?);
            self.note_event_table().await;
            Ok(())
        };
        let connected = in_time(limit, Box::pin(connecting)).await;
        if let Err(error) = connected {
            self.disconnect().await;
            self.update_health(Some(&error));
        }
        self.health.became_idle();
    }

    async fn try_to_write(&mut self) -> Result<(), StoreError> {
        let writer = connected(&mut self.writer, &self.store, &self.failed).await?;
        Ok(writer.probe().await?)
    }

    /// Notes the result of a transaction. Logs when recording begins to fail and when it works
    /// again.
    pub fn update_health(&self, failure: Option<&StoreError>) {
        match failure {
            None => {
                if let Some(failed_for) = self.health.succeeded() {
                    let ms = failed_for.as_millis();
                    tracing::info!(ms, "the store can be written again, after {ms} ms");
                }
            }
            Some(error) => {
                if self.health.failed(error) {
                    tracing::warn!(
                        error = %error,
                        "the store cannot be written; answering 503 to callbacks, submits and /readyz until it can"
                    );
                }
            }
        }
    }
}

/// Runs `work` until `limit`, if there is one.
async fn in_time<T>(
    limit: Option<Duration>,
    work: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    match limit {
        Some(limit) => timeout(limit, work)
            .await
            .unwrap_or(Err(StoreError::TooSlow)),
        None => work.await,
    }
}

/// Returns whether the store is to blame for `error`, and not one entry.
pub fn is_of_store(error: &StoreError) -> bool {
    reason(error).is_some()
}

/// Returns the reason that `/readyz` gives for `error`. It is a fixed text, because `/readyz` needs
/// no API key. `None` if one entry is to blame, and not the store.
fn reason(error: &StoreError) -> Option<&'static str> {
    Some(match error {
        StoreError::Corrupt { .. } => return None,
        StoreError::Sql(error) => return reason_of_sql(error),
        StoreError::Full => FULL,
        StoreError::Locked => "another program holds the write lock of the database",
        StoreError::TooSlow => {
            "the database exceeded its time limit: look for locks and for a slow disk"
        }
        StoreError::Contended(_) => "other transactions keep conflicting with ours",
        StoreError::Damaged(_) | StoreError::DiskFailed(_) | StoreError::Stopped => {
            "the disk failed: the process must be restarted"
        }
        StoreError::Replaced(_) => {
            "a file of the store was deleted or replaced: the process must be restarted"
        }
        StoreError::Unreachable(_) | StoreError::CannotOpen { .. } => {
            "the database cannot be reached, or does not accept writes"
        }
        StoreError::NoConnectionLeft { .. } => "the database server has no connection left",
        _ => UNWRITABLE,
    })
}

const FULL: &str = "the disk is full";

const EXHAUSTED: &str =
    "the database server cannot write; see the log of this service for the reason";

const UNWRITABLE: &str =
    "the database refuses what is to be recorded; see the log of this service for the reason";

/// A primary result code of SQLite that is never one entry's fault:
/// <https://www.sqlite.org/rescode.html>.
const READONLY: i32 = 8;

/// PostgreSQL's codes have this length. SQLite's are numbers of up to four digits.
const SQLSTATE_LENGTH: usize = 5;

fn reason_of_sql(error: &sqlx::Error) -> Option<&'static str> {
    let sqlx::Error::Database(error) = error else {
        // A stored value cannot be read, which affects only one task.
        return None;
    };
    let code = error.code()?;
    match code.parse::<i32>() {
        Ok(number) if code.len() < SQLSTATE_LENGTH && number & 0xff == READONLY => {
            Some("the database is read-only")
        }
        // Missing rights or tables, on PostgreSQL.
        _ if code.starts_with("42") || code.starts_with("28") => Some(UNWRITABLE),
        _ if is_of_server(&code) => Some(EXHAUSTED),
        _ => None,
    }
}

/// Returns whether a SQLSTATE is about the server and not about one entry: resources (53), the
/// system (58), an internal error (XX).
fn is_of_server(code: &str) -> bool {
    const CLASSES: [&str; 3] = ["53", "58", "XX"];
    code.len() == SQLSTATE_LENGTH && CLASSES.iter().any(|class| code.starts_with(class))
}

#[cfg(test)]
mod tests;
