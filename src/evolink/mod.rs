//! EvoLink's wire format, and our client for it.
//!
//! This module decides what an answer means for money (rule B12 in `docs/rules.md`). `SubmitReply`
//! says whether a submit was accepted, was not accepted, or may have been. Nothing here sends a
//! submit twice, or leaves our key in what it returns.

mod client;
mod envelope;
mod health;
mod http;
mod rate_limits;
mod read;
mod redaction;
mod relay;
mod reply;
mod unknown_task;

pub use client::{EvolinkClient, USER_AGENT};
pub use envelope::ErrorEnvelope;
pub use health::EvolinkHealth;
pub use rate_limits::{RateLimits, SubmitPermit};
pub use read::Read;
pub use redaction::{EvolinkKey, KEY_BYTES_MIN};
pub use relay::{Relay, RelayError};
pub use reply::{Answer, NoAnswer, PollReply, SubmitReply};
