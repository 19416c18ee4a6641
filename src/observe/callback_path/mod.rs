//! The way from EvoLink to us, as this process sees it: when the last callback came, what was
//! refused on the public listener, and whether outcomes are found by polling only. Operators read
//! it in the log, in `/metrics` and in `/readyz?verbose`.
//!
//! Each refusal is counted. Each reason is logged at most once a minute, so that strangers cannot
//! fill the log. No path and no token is logged.

pub mod advice;
pub mod causes;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tracing::{debug, info, warn};

use crate::domain::timestamp::Timestamp;
use crate::observe::metrics::Metrics;
pub use crate::observe::metrics::{CallbackRefusal, HandshakeFailure};
use crate::observe::throttle::Throttles;

/// The minimum time between two log lines with the same reason.
const INTERVAL: Duration = Duration::from_mins(1);

/// What one process knows of the way. Cheap to clone.
#[derive(Clone, Debug)]
pub struct CallbackPath(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    metrics: Metrics,
    callbacks: Throttles<CallbackRefusal>,
    handshakes: Throttles<HandshakeFailure>,
    seen: Mutex<Seen>,
    poll_only: ArcSwapOption<String>,
}

/// What was seen since the last callback with a valid token. What was refused before it says
/// nothing about the way now.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub last_callback: Option<Timestamp>,
    pub callbacks: BTreeMap<CallbackRefusal, u64>,
    pub handshakes: BTreeMap<HandshakeFailure, u64>,
}

impl CallbackPath {
    pub fn new(metrics: Metrics) -> Self {
        Self(Arc::new(Inner {
            metrics,
            callbacks: Throttles::every(INTERVAL),
            handshakes: Throttles::every(INTERVAL),
            seen: Mutex::default(),
            poll_only: ArcSwapOption::empty(),
        }))
    }

    /// A callback with a valid token came.
    pub fn came(&self, now: Timestamp) {
        self.0.metrics.callback_came(now);
        let mut seen = self.lock();
        seen.last_callback = Some(now);
        seen.callbacks.clear();
        seen.handshakes.clear();
    }

    /// A request was refused. `peer` is the other end of the connection, which may be a proxy.
    pub fn refused(&self, reason: CallbackRefusal, peer: Option<SocketAddr>) {
        self.0.metrics.callback_refused(reason);
        *self.lock().callbacks.entry(reason).or_default() += 1;
        let Some(times) = self.0.callbacks.pass(reason) else {
            return;
        };
        let peer = peer.map_or_else(|| "?".to_owned(), |peer| peer.to_string());
        let (why, advice) = (reason.into_str(), reason.advice());
        warn!(
            client.address = peer,
            reason = why,
            times,
            "callbacks refused: {times}, {why}, the last from {peer}: {advice}"
        );
    }

    /// A TLS handshake failed. `about` is what else is known of it.
    pub fn handshake_failed(&self, reason: HandshakeFailure, peer: SocketAddr, about: &str) {
        self.0.metrics.handshake_failed(reason);
        *self.lock().handshakes.entry(reason).or_default() += 1;
        let (why, advice) = (reason.into_str(), reason.advice());
        if reason == HandshakeFailure::Closed {
            return debug!(client.address = %peer, "TLS handshake failed: {peer} closed it");
        }
        let Some(times) = self.0.handshakes.pass(reason) else {
            return;
        };
        warn!(
            client.address = %peer,
            reason = why,
            times,
            about,
            "TLS handshakes failed: {times}, {why}, the last from {peer} ({about}): {advice}"
        );
    }

    pub fn seen(&self) -> Seen {
        self.lock().clone()
    }

    /// Sets why callbacks seem not to arrive, or that they do. Logs the changes.
    pub fn set_poll_only(&self, why: Option<String>) {
        self.0.metrics.outcomes_by_poll_only(why.is_some());
        let before = self.0.poll_only.swap(why.clone().map(Arc::new));
        match (before, why) {
            (None, Some(why)) => warn!("{why}"),
            (Some(_), None) => info!("callbacks report outcomes again"),
            (None, None) | (Some(_), Some(_)) => {}
        }
    }

    /// Why callbacks seem not to arrive, in one line. `None` if they arrive, or nothing shows that
    /// they do not.
    pub fn poll_only(&self) -> Option<Arc<String>> {
        self.0.poll_only.load_full()
    }

    /// Nobody holds it for longer than a few steps.
    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.0.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `act` logs.
    fn logged(act: impl FnOnce()) -> String {
        let log = tempfile::NamedTempFile::new().unwrap();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(Mutex::new(log.reopen().unwrap()))
            .with_ansi(false)
            .finish();
        tracing::subscriber::with_default(subscriber, act);
        std::fs::read_to_string(log.path()).unwrap()
    }

    #[test]
    fn each_reason_is_logged_once_a_minute_with_an_address_and_advice() {
        let path = CallbackPath::new(Metrics::new());
        let peer: SocketAddr = "192.0.2.7:4711".parse().unwrap();
        let log = logged(|| {
            for _ in 0..500 {
                path.refused(CallbackRefusal::WrongPath, Some(peer));
                path.refused(CallbackRefusal::UnknownKey, Some(peer));
                path.handshake_failed(HandshakeFailure::UnknownCa, peer, "alert");
                path.handshake_failed(HandshakeFailure::Closed, peer, "eof");
            }
        });
        assert_eq!(log.lines().count(), 3, "{log}");
        for (line, words) in log.lines().zip([
            "callbacks refused: 1, wrong_path, the last from 192.0.2.7:4711: callbacks come under",
            "callbacks refused: 1, unknown_key, the last from 192.0.2.7:4711: the URL was made",
            "TLS handshakes failed: 1, unknown_ca, the last from 192.0.2.7:4711 (alert): the client",
        ]) {
            assert!(line.contains(words) && line.contains("WARN"), "{line}");
        }
        assert_eq!(path.seen().callbacks[&CallbackRefusal::WrongPath], 500);
        path.came(Timestamp::from_millis(0));
        assert_eq!(
            path.seen().callbacks.len() + path.seen().handshakes.len(),
            0
        );
    }

    #[test]
    fn that_outcomes_come_by_poll_only_is_logged_once_and_so_is_the_end() {
        let path = CallbackPath::new(Metrics::new());
        let log = logged(|| {
            for why in [None, Some("a"), Some("a"), Some("b"), None, None] {
                path.set_poll_only(why.map(str::to_owned));
            }
        });
        let lines: Vec<&str> = log.lines().collect();
        assert!(lines.len() == 2 && lines[0].contains("WARN"), "{log}");
        assert!(lines[1].contains("INFO"), "{log}");
    }
}
