//! The state of the callback handler.

use std::sync::Arc;
use std::time::Duration;

use super::unfinished::UnfinishedCallbacks;
use crate::clock::Clock;
use crate::domain::callback::KeyRing;
use crate::evolink::EvolinkKey;
use crate::http::serve::body::BodyBudget;
use crate::observe::callback_path::CallbackPath;
use crate::observe::metrics::Metrics;
use crate::store::recorder::Recorder;

/// State of the callback handler. It gives no access to reads of the store.
#[derive(Debug)]
pub struct PublicState {
    pub recorder: Recorder,
    pub key_ring: Arc<KeyRing>,
    /// Redacted in what a callback brings.
    pub evolink_key: EvolinkKey,
    /// Lifetime of a submission's token: as long as its record is kept.
    pub token_lifetime: Duration,
    pub clock: Clock,
    pub metrics: Metrics,
    pub callback_path: CallbackPath,
    pub body_bytes_max: usize,
    pub body_timeout: Duration,
    pub body_budget: BodyBudget,
    pub unfinished: UnfinishedCallbacks,
    /// Time from the head of the request to our answer. EvoLink disconnects after 10 s.
    pub request_timeout: Duration,
}
