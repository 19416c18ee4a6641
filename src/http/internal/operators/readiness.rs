//! Readiness: whether a callback that arrives now would be recorded, and the state of each
//! component.
//!
//! No check waits longer than `PATIENCE`, whatever hangs.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::time::timeout;

use crate::domain::result_file::FileState;
use crate::domain::timestamp::Timestamp;
use crate::evolink::EvolinkHealth;
use crate::http::internal::InternalState;
use crate::http::tls::TlsSource;
use crate::http::tls::expiry::Left;
use crate::observe::callback_path::CallbackPath;
use crate::store::recorder::WriteState;
use crate::store::{Store, StoreError};

/// Timeout of each check. The checks run concurrently.
const PATIENCE: Duration = Duration::from_secs(1);

/// Readers that have not answered for this long count as failing. Before that they may just be
/// busy.
const READERS_SILENT_MAX: Duration = Duration::from_secs(4);

/// Maximum number of endpoint names in one message.
const NAMES_MAX: usize = 10;

/// Inputs of the readiness checks that no other handler needs.
#[derive(Clone)]
pub struct Readiness(Arc<Inner>);

struct Inner {
    /// `None` if a proxy terminates TLS.
    tls: Option<Arc<TlsSource>>,
    callback_path: CallbackPath,
    readers_answered_at: Mutex<Instant>,
}

/// The state of one component, for people to read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Detail {
    pub state: DetailState,
    /// One sentence, without secrets.
    pub message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DetailState {
    Ok,
    /// The component works, but an operator should look at it.
    Warning,
    /// The component does not work.
    Failing,
}

/// All components. The field names are those in the response.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Details {
    pub writer: Detail,
    pub reader: Detail,
    pub evolink: Detail,
    pub callbacks: Detail,
    pub endpoints: Detail,
    pub archive: Detail,
    pub certificate: Detail,
    pub disk: Detail,
}

impl Readiness {
    pub fn new(tls: Option<Arc<TlsSource>>, callback_path: CallbackPath) -> Self {
        Self(Arc::new(Inner {
            tls,
            callback_path,
            readers_answered_at: Mutex::new(Instant::now()),
        }))
    }

    async fn reader(&self, store: &Store) -> Detail {
        let asked = timeout(PATIENCE, store.ping()).await;
        let answered_at = &self.0.readers_answered_at;
        let mut answered_at = answered_at.lock().unwrap_or_else(PoisonError::into_inner);
        match asked {
            Ok(Ok(())) => {
                *answered_at = Instant::now();
                Detail::ok("the database answers questions")
            }
            Err(_) | Ok(Err(StoreError::TooSlow)) => {
                let silent = answered_at.elapsed();
                if silent < READERS_SILENT_MAX {
                    Detail::warning("the database is slow to answer questions")
                } else {
                    let seconds = silent.as_secs();
                    Detail::failing(format!(
                        "the store does not answer: no question for {seconds} s"
                    ))
                }
            }
            Ok(Err(_)) => Detail::failing("the store does not answer"),
        }
    }

    fn callbacks(&self, now: Timestamp) -> Detail {
        let path = &self.0.callback_path;
        if let Some(why) = path.poll_only() {
            return Detail::warning(why.as_str());
        }
        match path.seen().last_callback {
            Some(last) => {
                let seconds = now.since(last).as_secs();
                Detail::ok(format!("the last callback came {seconds} s ago"))
            }
            None => Detail::ok("no callback has come since the start"),
        }
    }

    fn certificate(&self) -> Detail {
        let Some(tls) = &self.0.tls else {
            return Detail::ok("TLS ends at a proxy, whose certificate is not known here");
        };
        let not_after = tls.not_after();
        match tls.left() {
            Left::Enough => Detail::ok(format!("valid until {not_after}")),
            Left::Days(days) => {
                Detail::warning(format!("expires in {days} days or less, at {not_after}"))
            }
            Left::Expired => Detail::failing(format!(
                "expired at {not_after}: EvoLink's callbacks do not arrive"
            )),
        }
    }
}

impl fmt::Debug for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readiness").finish_non_exhaustive()
    }
}

impl Detail {
    fn ok(message: impl Into<String>) -> Self {
        Self::new(DetailState::Ok, message)
    }

    fn warning(message: impl Into<String>) -> Self {
        Self::new(DetailState::Warning, message)
    }

    fn failing(message: impl Into<String>) -> Self {
        Self::new(DetailState::Failing, message)
    }

    fn new(state: DetailState, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { state, message }
    }

    fn of_writing(writing: WriteState) -> Self {
        match writing {
            WriteState::Working { last: None } => Self::ok("nothing was recorded yet"),
            WriteState::Working { last: Some(last) } => {
                let ago = match last.as_secs() {
                    0 => "just now".to_owned(),
                    seconds => format!("{seconds} s ago"),
                };
                Self::ok(format!("the last transaction succeeded {ago}"))
            }
            WriteState::Stuck { waiting } => {
                let seconds = waiting.as_secs();
                Self::failing(format!(
                    "an entry has waited for {seconds} s: a lock or the disk holds the store up"
                ))
            }
            WriteState::Failing { reason, lasting } => Self::failing(match lasting.as_secs() {
                0 => format!("recording began to fail just now: {reason}"),
                seconds => format!("nothing was recorded for {seconds} s: {reason}"),
            }),
        }
    }

    fn of_evolink(health: &EvolinkHealth) -> Self {
        if let Some(rejected_for) = health.key_rejected_for() {
            let key = health.key_source();
            return Self::failing(match rejected_for.as_secs() {
                0 => format!("EvoLink rejected our API key just now: look at {key}"),
                seconds => {
                    format!("EvoLink has rejected our API key for {seconds} s: look at {key}")
                }
            });
        }
        match health.submits_refused_with() {
            Some(402) => Self::warning("EvoLink refuses submits (402): no credits are left"),
            Some(status) => Self::warning(format!(
                "EvoLink refuses submits ({status}): our account lacks a right"
            )),
            None => Self::ok("EvoLink has not refused our key or our submits"),
        }
    }

    fn of_disk(is_full: bool, is_nearly_full: bool, is_on_server: bool) -> Self {
        match (is_full, is_on_server) {
            (true, true) => {
                Self::failing("the database server's disk is full: callbacks and submits get 503")
            }
            (true, false) => {
                Self::failing("the store's disk is full: callbacks and submits get 503")
            }
            (false, true) => Self::ok("the database server looks after its own disk"),
            (false, false) if is_nearly_full => Self::warning(
                "the store's disk is nearly full: submits are refused, callbacks are recorded",
            ),
            (false, false) => Self::ok("the store's disk has space"),
        }
    }
}

/// Returns why callbacks would not be recorded now, or `None` if they would be.
///
/// A nearly full disk is not a reason, because then only submits are refused. Faults of EvoLink and
/// of endpoints are not reasons either.
pub async fn trouble(state: &InternalState) -> Option<String> {
    if let Some(trouble) = stopping(state) {
        return Some(trouble.to_owned());
    }
    let (reader, writing) = readers_and_writing(state).await;
    [Detail::of_writing(writing), reader]
        .into_iter()
        .find(|detail| detail.state == DetailState::Failing)
        .map(|detail| detail.message)
}

/// Returns the same as `trouble`, and all details.
pub async fn details(state: &InternalState) -> (Option<String>, Details) {
    let store = &state.store;
    let ((reader, writing), endpoints, archive) =
        tokio::join!(readers_and_writing(state), endpoints(store), archive(state),);
    let is_full = writing.is_for_full_disk();
    let details = Details {
        writer: Detail::of_writing(writing),
        reader,
        evolink: Detail::of_evolink(state.evolink.health()),
        callbacks: state.readiness.callbacks(state.clock.wall_now()),
        endpoints,
        archive,
        certificate: state.readiness.certificate(),
        disk: Detail::of_disk(is_full, store.is_nearly_full(), store.is_shared()),
    };
    let failing = [&details.writer, &details.reader]
        .into_iter()
        .find(|detail| detail.state == DetailState::Failing)
        .map(|detail| detail.message.clone());
    (stopping(state).map(str::to_owned).or(failing), details)
}

fn stopping(state: &InternalState) -> Option<&'static str> {
    if state.stopping.is_cancelled() {
        Some("stopping")
    } else if state.recorder.failed().is_cancelled() {
        Some("the disk failed")
    } else {
        None
    }
}

async fn readers_and_writing(state: &InternalState) -> (Detail, WriteState) {
    let (reader, ()) = tokio::join!(
        state.readiness.reader(&state.store),
        state.recorder.probe(PATIENCE),
    );
    (reader, state.recorder.health().writing())
}

async fn endpoints(store: &Store) -> Detail {
    let Ok(Ok(disabled)) = timeout(PATIENCE, store.list_disabled_endpoints()).await else {
        return Detail::warning("not known: the store does not answer");
    };
    if disabled.is_empty() {
        return Detail::ok("no endpoint of the configuration is disabled");
    }
    let names = disabled.iter().take(NAMES_MAX);
    let names: Vec<String> = names.map(|endpoint| endpoint.name.to_string()).collect();
    let (count, names) = (disabled.len(), names.join(", "));
    Detail::warning(format!(
        "{count} disabled, until one of their deliveries is retried: {names}"
    ))
}

async fn archive(state: &InternalState) -> Detail {
    let Some(archive) = &state.archive else {
        return Detail::ok("no results are archived: archive.enabled is false");
    };
    let measuring = timeout(PATIENCE, archive.storage.bytes_free());
    let counting = timeout(PATIENCE, state.store.count_files(FileState::Failed));
    let (Ok(Ok(free)), Ok(Ok(failed))) = tokio::join!(measuring, counting) else {
        return Detail::warning("not known: the archive or the store does not answer");
    };
    if free.is_some_and(|free| free < archive.min_free) {
        return Detail::warning("no results are fetched: less space is free than archive.min_free");
    }
    match failed {
        0 => Detail::ok("no result was given up"),
        failed => Detail::warning(format!(
            "{failed} results were given up, until `archive retry`"
        )),
    }
}
