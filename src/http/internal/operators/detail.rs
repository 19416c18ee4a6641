//! The state of one component in `/readyz?verbose`.

use serde::Serialize;

use crate::evolink::EvolinkHealth;
use crate::store::recorder::WriteState;

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

impl Detail {
    pub fn ok(message: impl Into<String>) -> Self {
        Self::new(DetailState::Ok, message)
    }

    pub fn warning(message: impl Into<String>) -> Self {
        Self::new(DetailState::Warning, message)
    }

    pub fn failing(message: impl Into<String>) -> Self {
        Self::new(DetailState::Failing, message)
    }

    pub fn new(state: DetailState, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { state, message }
    }

    pub fn of_writing(writing: WriteState) -> Self {
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

    pub fn of_evolink(health: &EvolinkHealth) -> Self {
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

    pub fn of_disk(is_full: bool, is_nearly_full: bool, is_on_server: bool) -> Self {
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
