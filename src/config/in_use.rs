//! Which configuration a process runs with, for people who compare it with a file.

use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};

use sha2::{Digest, Sha256};

use super::Config;
use crate::domain::timestamp::Timestamp;

/// The bytes of a hash that a fingerprint shows.
const FINGERPRINT_BYTES: usize = 6;

/// The configuration in use.
#[derive(Debug)]
pub struct InUse(Mutex<Seen>);

/// What is known about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub fingerprint: String,
    /// When the values in use were read.
    pub read_at: Timestamp,
    /// The keys that have changed since, and that take effect at the next start.
    pub waiting: Vec<String>,
    /// Whether the configuration has errors now, so that the values read before stay in use.
    pub is_refused: bool,
}

impl InUse {
    pub const fn new(fingerprint: String, read_at: Timestamp) -> Self {
        Self(Mutex::new(Seen {
            fingerprint,
            read_at,
            waiting: Vec::new(),
            is_refused: false,
        }))
    }

    pub fn seen(&self) -> Seen {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub fn change(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Config {
    /// Returns a text that is the same for the same values, without secrets. Of EvoLink's key only
    /// whether there is one counts.
    pub fn fingerprint(&self) -> String {
        let values = serde_json::to_vec(self).unwrap_or_default();
        let hash = Sha256::digest(values);
        let mut text = String::new();
        for byte in hash.iter().take(FINGERPRINT_BYTES) {
            let _ = write!(text, "{byte:02x}");
        }
        text
    }
}
