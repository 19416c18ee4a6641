//! Redacts our secrets in EvoLink's answers. These may repeat our key and the callback tokens that
//! we sent, and apps see them and the store keeps them.

use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use secrecy::{ExposeSecret, SecretString};

use super::reply::{Answer, NoAnswer};
use crate::domain::callback::token_echo;
use crate::domain::callback::{KeyRing, Subject};
use crate::domain::ids::SubmissionId;

/// The minimum length of a key that is redacted. A shorter one may be part of any word. The
/// configuration accepts a shorter one only if EvoLink is on this machine, which is a simulator.
pub const KEY_BYTES_MIN: usize = 16;

/// Keys that are redacted after they were replaced: answers under way may still repeat them.
const KEYS_MAX: usize = 4;

/// The keys that we call and called EvoLink with, to be redacted wherever somebody repeats them.
/// Clones share them.
#[derive(Clone, Debug)]
pub struct EvolinkKey(Arc<ArcSwap<Vec<SecretString>>>);

impl EvolinkKey {
    pub fn new(key: SecretString) -> Self {
        let shared = Self(Arc::default());
        shared.add(key);
        shared
    }

    /// Returns the keys, except those that are too short to be searched for.
    pub fn known(&self) -> Arc<Vec<SecretString>> {
        self.0.load_full()
    }

    /// Adds the key that is used from now on.
    pub(super) fn add(&self, key: SecretString) {
        if key.expose_secret().len() >= KEY_BYTES_MIN {
            let before = self.known();
            let keys = std::iter::once(key).chain(before.iter().cloned());
            self.0.store(Arc::new(keys.take(KEYS_MAX).collect()));
        }
    }
}

/// The secrets to redact.
pub(super) struct Redaction {
    api_key: EvolinkKey,
    key_ring: Option<Arc<KeyRing>>,
}

impl Redaction {
    pub(super) fn new(api_key: SecretString) -> Self {
        Self {
            api_key: EvolinkKey::new(api_key),
            key_ring: None,
        }
    }

    pub(super) const fn api_key(&self) -> &EvolinkKey {
        &self.api_key
    }

    /// Adds the keys that the callback tokens of submissions are computed from.
    pub(super) fn with_key_ring(mut self, key_ring: Arc<KeyRing>) -> Self {
        self.key_ring = Some(key_ring);
        self
    }

    /// Redacts our key, and the secret part of each of our callback URLs, in `body`.
    pub(super) fn body(&self, body: Bytes) -> Bytes {
        let keys = self.api_key.known();
        let keys: Vec<&str> = keys.iter().map(ExposeSecret::expose_secret).collect();
        token_echo::redact(body, &keys)
    }

    /// Redacts the same in a header or an error.
    pub(super) fn text(&self, text: &str) -> String {
        let body = self.body(Bytes::copy_from_slice(text.as_bytes()));
        String::from_utf8_lossy(&body).into_owned()
    }

    /// Redacts the tokens of a submission, which we may have sent to EvoLink, in an answer about
    /// it.
    pub(super) fn without_tokens_of(
        &self,
        submission_id: SubmissionId,
        answered: Result<Answer, NoAnswer>,
    ) -> Result<Answer, NoAnswer> {
        let Some(key_ring) = &self.key_ring else {
            return answered;
        };
        let macs = key_ring.macs(&Subject::Submission(submission_id));
        let text = |text: String| {
            if token_echo::is_found(text.as_bytes(), &macs) {
                token_echo::REDACTED.to_owned()
            } else {
                text
            }
        };
        match answered {
            Ok(answer) => Ok(Answer {
                status: answer.status,
                body: token_echo::redact(answer.body, &macs),
                content_type: answer.content_type.map(text),
                retry_after: answer.retry_after.map(text),
                etag: answer.etag.map(text),
                request_id: answer.request_id.map(text),
                date: answer.date.map(text),
            }),
            Err(NoAnswer::Unreachable { reason }) => Err(NoAnswer::Unreachable {
                reason: text(reason),
            }),
            Err(NoAnswer::Unreadable {
                reason,
                status,
                body,
            }) => Err(NoAnswer::Unreadable {
                reason: text(reason),
                status,
                body: token_echo::redact(body, &macs),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(key: &str, body: &'static str) -> Bytes {
        Redaction::new(key.into()).body(Bytes::from_static(body.as_bytes()))
    }

    #[test]
    fn a_key_that_was_replaced_is_redacted_too() {
        let redaction = Redaction::new("the-key-of-yesterday".into());
        let shared = redaction.api_key().clone();
        shared.add("the-key-of-today".into());
        for key in ["the-key-of-yesterday", "the-key-of-today"] {
            assert_eq!(redaction.text(&format!("key {key}!")), "key [redacted]!");
        }
    }

    #[test]
    fn only_a_key_that_is_part_of_no_word_is_redacted() {
        const TEXT: &str = r#"{"error":{"message":"Too many requests"},"url":"https://x/any.png"}"#;
        assert_eq!(body("any", TEXT), TEXT);
        let short = body("fifteen-bytes-0", r#"{"a":"fifteen-bytes-0"}"#);
        assert_eq!(short, r#"{"a":"fifteen-bytes-0"}"#);
        let long = body("sixteen-bytes-00", r#"{"a":"sixteen-bytes-00"}"#);
        assert_eq!(long, r#"{"a":"[redacted]"}"#);
    }
}
