//! TLS handshakes on the internal listener that failed. Each is counted. Each reason is logged at most
//! once a minute.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tracing::{debug, warn};

use crate::observe::metrics::{HandshakeFailure, Metrics};
use crate::observe::throttle::Throttles;

/// The minimum time between two log lines with the same reason.
const INTERVAL: Duration = Duration::from_mins(1);

/// The handshakes of apps that failed. Cheap to clone.
#[derive(Clone, Debug)]
pub struct AppHandshakes(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    metrics: Metrics,
    throttles: Throttles<HandshakeFailure>,
}

impl AppHandshakes {
    pub fn new(metrics: Metrics) -> Self {
        let throttles = Throttles::every(INTERVAL);
        Self(Arc::new(Inner { metrics, throttles }))
    }

    /// A TLS handshake failed. `about` is what else is known of it.
    pub fn handshake_failed(&self, reason: HandshakeFailure, peer: SocketAddr, about: &str) {
        self.0.metrics.app_handshake_failed(reason);
        if reason == HandshakeFailure::Closed {
            return debug!(client.address = %peer, "TLS handshake of an app failed: {peer} closed it");
        }
        let Some(times) = self.0.throttles.pass(reason) else {
            return;
        };
        let (why, advice) = (reason.into_str(), advice(reason));
        warn!(
            client.address = %peer,
            reason = why,
            times,
            about,
            "TLS handshakes of apps failed: {times}, {why}, the last from {peer} ({about}): {advice}"
        );
    }
}

const fn advice(reason: HandshakeFailure) -> &'static str {
    match reason {
        HandshakeFailure::UnknownCa => {
            "the app does not trust the issuer of internal.tls: give it the certificate of the issuer"
        }
        HandshakeFailure::WrongName => {
            "the app calls a name that the certificate of internal.tls is not for"
        }
        HandshakeFailure::Expired => {
            "renew the certificate of internal.tls; its files are read again by themselves"
        }
        HandshakeFailure::CertificateRefused => {
            "the app refuses the certificate of internal.tls without a reason: see `evolink-receiver check`"
        }
        HandshakeFailure::Protocol => {
            "the app offers nothing that we speak: TLS 1.2 or 1.3, HTTP/1.1"
        }
        HandshakeFailure::NotTls => {
            "what came is not TLS: the app must call https://, or internal.tls.mode must be \"off\""
        }
        HandshakeFailure::Timeout => "the app did not complete it",
        HandshakeFailure::Closed => "the app closed the connection",
    }
}
