//! The state of our account, according to EvoLink's answers: whether EvoLink accepts our key, and
//! whether it accepts submits. The client reports each answer. `/readyz` and `/metrics` show the
//! result.
//!
//! Pages of a gateway in front of EvoLink change nothing here. Only an answer in EvoLink's own form
//! counts.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tracing::{error, info, warn};

use super::envelope::ErrorEnvelope;
use super::reply::Answer;
use crate::domain::json::Fields;

/// The state of our account at EvoLink, as this process has seen it. Everything counts as fine
/// until an answer says otherwise.
#[derive(Debug)]
pub struct EvolinkHealth {
    /// Where our key was configured.
    key_source: ArcSwap<&'static str>,
    seen: Mutex<Seen>,
}

impl Default for EvolinkHealth {
    fn default() -> Self {
        Self {
            key_source: ArcSwap::from_pointee("evolink.api_key"),
            seen: Mutex::default(),
        }
    }
}

#[derive(Debug, Default)]
struct Seen {
    /// When EvoLink began to reject our key.
    key_rejected_at: Option<Instant>,
    /// The status with which EvoLink refuses submits: 402 or 403.
    submits_refused: Option<u16>,
}

impl EvolinkHealth {
    /// Whether the last answer about our key rejected it.
    pub fn is_key_rejected(&self) -> bool {
        self.key_rejected_for().is_some()
    }

    /// How long EvoLink has been rejecting our key. `None` if it accepts it.
    pub fn key_rejected_for(&self) -> Option<Duration> {
        let since = self.with(|seen| seen.key_rejected_at)?;
        Some(since.elapsed())
    }

    /// Where to replace our key: a key of the configuration, or an environment variable.
    pub fn key_source(&self) -> &'static str {
        **self.key_source.load()
    }

    pub(super) fn set_key_source(&self, key_source: &'static str) {
        self.key_source.store(Arc::new(key_source));
    }

    /// 402 or 403 if EvoLink refused the last submit with this status: no credits are left, or our
    /// account lacks a right.
    pub fn submits_refused_with(&self) -> Option<u16> {
        self.with(|seen| seen.submits_refused)
    }

    /// Processes an answer to a call that needs our key. Logs when EvoLink begins and stops
    /// rejecting the key.
    pub(super) fn saw(&self, answer: &Answer) {
        match verdict_on_key(answer) {
            Some(KeyVerdict::Rejected) => {
                let began = self.with(|seen| {
                    let is_new = seen.key_rejected_at.is_none();
                    seen.key_rejected_at.get_or_insert_with(Instant::now);
                    is_new
                });
                if began {
                    let key = self.key_source();
                    error!(
                        key,
                        "EvoLink rejects our API key (401): put a valid one into {key}; \
                         until then submits are answered 502 evolink_key_rejected"
                    );
                }
            }
            Some(KeyVerdict::Accepted) => {
                if let Some(began) = self.with(|seen| seen.key_rejected_at.take()) {
                    let seconds = began.elapsed().as_secs();
                    info!(
                        seconds,
                        "EvoLink accepts our API key again, after {seconds} s"
                    );
                }
            }
            None => {}
        }
    }

    /// Processes an answer to a submit. Logs when refusals because of our account begin, change and
    /// end.
    pub(super) fn saw_submit(&self, answer: &Answer) {
        let refused = match answer.status {
            status @ (402 | 403) if answer.is_in_envelope() => Some(status),
            200..=299 if is_object(answer) => None,
            _ => return,
        };
        let before = self.with(|seen| std::mem::replace(&mut seen.submits_refused, refused));
        match (before, refused) {
            (before, Some(status)) if before != refused => {
                let reason = if status == 402 {
                    "no credits are left"
                } else {
                    "our account lacks a right"
                };
                warn!(
                    status,
                    "EvoLink refuses submits ({status}): {reason}; apps get its answer"
                );
            }
            (Some(_), None) => info!("EvoLink accepts submits again"),
            _ => {}
        }
    }

    fn with<T>(&self, look: impl FnOnce(&mut Seen) -> T) -> T {
        look(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

enum KeyVerdict {
    Accepted,
    Rejected,
}

/// Returns what `answer` says about our key, or `None` if it says nothing. A 429 or 5xx may be sent
/// before the key is checked.
fn verdict_on_key(answer: &Answer) -> Option<KeyVerdict> {
    match answer.status {
        401 if answer.is_in_envelope() => Some(KeyVerdict::Rejected),
        402 | 403 if answer.is_in_envelope() => Some(KeyVerdict::Accepted),
        200..=299 if is_object(answer) => Some(KeyVerdict::Accepted),
        _ => None,
    }
}

fn is_object(answer: &Answer) -> bool {
    Fields::parse(&answer.body).is_ok()
}

impl Answer {
    /// Whether this is an error in EvoLink's own form, and not a page of a gateway in front of it.
    pub fn is_in_envelope(&self) -> bool {
        ErrorEnvelope::parse(&self.body)
            .is_some_and(|error| error.code.is_some() || error.error_type.is_some())
    }

    /// Whether the answer is a 401, so about our key. The app that made the request can do nothing
    /// about it.
    pub const fn is_about_key(&self) -> bool {
        self.status == 401
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REJECTED: &str =
        r#"{"error":{"code":"unauthorized","message":"m","type":"authentication_error"}}"#;

    fn saw(health: &EvolinkHealth, status: u16, body: &str) {
        health.saw(&answer(status, body));
    }

    fn answer(status: u16, body: &str) -> Answer {
        Answer {
            status,
            body: body.to_owned().into(),
            content_type: None,
            retry_after: None,
            etag: None,
            request_id: None,
            date: None,
        }
    }

    #[test]
    fn a_key_is_rejected_from_evolinks_401_to_its_next_answer_that_needs_the_key() {
        let health = EvolinkHealth::default();
        assert!(!health.is_key_rejected());
        saw(&health, 401, "<h1>Unauthorized</h1>");
        saw(&health, 401, r#"{"error":"denied by the gateway"}"#);
        assert!(!health.is_key_rejected());
        saw(&health, 401, REJECTED);
        assert!(health.is_key_rejected());
        for (status, body) in [
            (200, "<html>a login page</html>"),
            (500, REJECTED),
            (429, REJECTED),
            (403, "<html>"),
            (404, REJECTED),
        ] {
            saw(&health, status, body);
            assert!(health.is_key_rejected(), "{status} {body}");
        }
        saw(&health, 402, REJECTED);
        assert!(!health.is_key_rejected());
        saw(&health, 401, r#"{"error":{"code":401,"message":"m"}}"#);
        assert!(health.key_rejected_for().is_some());
        saw(&health, 200, "{}");
        assert_eq!(health.key_rejected_for(), None);
    }

    #[test]
    fn a_refusal_of_submits_lasts_until_one_is_accepted() {
        let health = EvolinkHealth::default();
        health.saw_submit(&answer(402, "<html>"));
        assert_eq!(health.submits_refused_with(), None);
        health.saw_submit(&answer(402, REJECTED));
        health.saw_submit(&answer(429, REJECTED));
        assert_eq!(health.submits_refused_with(), Some(402));
        health.saw_submit(&answer(403, REJECTED));
        assert_eq!(health.submits_refused_with(), Some(403));
        health.saw_submit(&answer(200, "{}"));
        assert_eq!(health.submits_refused_with(), None);
    }
}
