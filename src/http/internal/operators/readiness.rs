//! Readiness: whether a callback that arrives now would be recorded, and the state of each
//! component.
//!
//! No check waits longer than `PATIENCE`, whatever hangs.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::time::timeout;

use super::detail::{Detail, DetailState};
use super::outside::Outside;
use crate::config::InUse;
use crate::domain::result_file::FileState;
use crate::domain::timestamp::Timestamp;
use crate::http::internal::InternalState;
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
    outside: Outside,
    configuration: Arc<InUse>,
    readers_answered_at: Mutex<Instant>,
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
    /// Absent if the internal listener has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub internal_certificate: Option<Detail>,
    pub disk: Detail,
    pub self_test: Detail,
    pub configuration: Detail,
}

impl Readiness {
    pub fn new(outside: Outside, configuration: Arc<InUse>) -> Self {
        Self(Arc::new(Inner {
            outside,
            configuration,
            readers_answered_at: Mutex::new(Instant::now()),
        }))
    }

    /// When the certificate of the public listener expires, if there is one.
    pub fn certificate_expiry(&self) -> Option<Timestamp> {
        self.0.outside.certificate_expiry()
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
}

impl Readiness {
    fn configuration(&self) -> Detail {
        let seen = self.0.configuration.seen();
        let read = format!("fingerprint {}, read at {}", seen.fingerprint, seen.read_at);
        if seen.is_refused {
            Detail::warning(format!(
                "{read}; the configuration has errors now, which `check` lists, and is not reloaded"
            ))
        } else if seen.waiting.is_empty() {
            Detail::ok(read)
        } else {
            let keys = seen.waiting.iter().take(NAMES_MAX);
            let keys: Vec<&str> = keys.map(String::as_str).collect();
            Detail::warning(format!(
                "{read}; a restart is needed for {}",
                keys.join(", ")
            ))
        }
    }
}

impl fmt::Debug for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readiness").finish_non_exhaustive()
    }
}

/// Returns why callbacks would not arrive or not be recorded now, or `None` if they would be.
///
/// A nearly full disk is not a reason, because then only submits are refused. Faults of EvoLink and
/// of endpoints are not reasons either.
pub async fn trouble(state: &InternalState) -> Option<String> {
    if let Some(trouble) = stopping(state) {
        return Some(trouble.to_owned());
    }
    let (reader, writing) = readers_and_writing(state).await;
    let certificate = state.readiness.0.outside.certificate();
    [Detail::of_writing(writing), reader, certificate]
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
    let (outside, now) = (&state.readiness.0.outside, state.clock.wall_now());
    let details = Details {
        writer: Detail::of_writing(writing),
        reader,
        evolink: Detail::of_evolink(state.evolink.health()),
        callbacks: outside.callbacks(now),
        endpoints,
        archive,
        certificate: outside.certificate(),
        internal_certificate: outside.internal_certificate(),
        disk: Detail::of_disk(is_full, store.is_nearly_full(), store.is_shared()),
        self_test: outside.self_test(now),
        configuration: state.readiness.configuration(),
    };
    let failing = [&details.writer, &details.reader, &details.certificate]
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
