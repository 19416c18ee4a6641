//! The metrics of callbacks and connections that the public listener refuses, by reason, and of the
//! time of the last callback.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use strum::{IntoStaticStr, VariantArray};

use super::Metrics;
use super::labels::{Name, ReasonLabel};
use super::series::{Unset, metrics};
use crate::domain::timestamp::Timestamp;

metrics! {
    pub struct Refusals {
        callbacks: Family<ReasonLabel, Counter> = "callbacks_refused",
            "Requests on the public listener that were refused without a row in the store, by reason";
        handshakes: Family<ReasonLabel, Counter> = "tls_handshakes_failed",
            "TLS handshakes on the public listener that failed, by reason";
        app_handshakes: Family<ReasonLabel, Counter> = "internal_tls_handshakes_failed",
            "TLS handshakes on the internal listener that failed, by reason";
        last_callback: Unset = "last_callback_timestamp_seconds",
            "When the last callback with a valid token came, in seconds since 1970";
        poll_only: Gauge = "outcomes_by_poll_only",
            "1 while the last outcomes were all found by polling, and no callback told of them";
    }
}

/// Why a request on the public listener was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, IntoStaticStr, VariantArray)]
#[strum(const_into_str, serialize_all = "snake_case")]
pub enum CallbackRefusal {
    WrongPath,
    WrongMethod,
    /// The path is a callback's, with something that is no token.
    NoToken,
    /// The token names a key that is not in the ring.
    UnknownKey,
    BadMac,
    Expired,
    Encoded,
    TooLarge,
    TooSlow,
    /// The body was cut off, or its chunks are malformed.
    CutOff,
    NoRoom,
    TooManyUnfinished,
    /// The store did not take it in time, or failed.
    NotRecorded,
}

/// Why a TLS handshake failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, IntoStaticStr, VariantArray)]
#[strum(const_into_str, serialize_all = "snake_case")]
pub enum HandshakeFailure {
    UnknownCa,
    WrongName,
    Expired,
    /// The client refused the certificate and did not say why.
    CertificateRefused,
    Protocol,
    /// What came is not TLS.
    NotTls,
    Timeout,
    /// The client closed the connection: port scans and checks of TCP do.
    Closed,
}

impl Refusals {
    /// Creates each series at 0, so that the first refusal is an increase, too.
    pub fn begin(&self) {
        for reason in CallbackRefusal::VARIANTS {
            drop(self.callbacks.get_or_create(&label(reason.into_str())));
        }
        for reason in HandshakeFailure::VARIANTS {
            drop(self.handshakes.get_or_create(&label(reason.into_str())));
            drop(self.app_handshakes.get_or_create(&label(reason.into_str())));
        }
    }
}

impl Metrics {
    pub fn callback_refused(&self, reason: CallbackRefusal) {
        let label = label(reason.into_str());
        self.0.refusals.callbacks.get_or_create(&label).inc();
        self.0.hours.refused.count(reason.into_str());
    }

    pub fn handshake_failed(&self, reason: HandshakeFailure) {
        let label = label(reason.into_str());
        self.0.refusals.handshakes.get_or_create(&label).inc();
        self.0.hours.handshakes.count(reason.into_str());
    }

    pub fn app_handshake_failed(&self, reason: HandshakeFailure) {
        let label = label(reason.into_str());
        self.0.refusals.app_handshakes.get_or_create(&label).inc();
    }

    /// Sets when the last callback with a valid token came.
    pub fn callback_came(&self, at: Timestamp) {
        let gauge = self.0.refusals.last_callback.get_or_create(&[]);
        gauge.set(at.as_seconds());
    }

    /// Sets whether the last outcomes were all found by polling.
    pub fn outcomes_by_poll_only(&self, is_so: bool) {
        self.0.refusals.poll_only.set(i64::from(is_so));
    }
}

const fn label(reason: &'static str) -> ReasonLabel {
    ReasonLabel {
        reason: Name(reason),
    }
}
