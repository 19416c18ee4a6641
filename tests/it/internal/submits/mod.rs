//! Submits: what reaches EvoLink, what its answers mean, and what is recorded.

mod account;
mod answers;
mod bounds;
mod callback_urls;
mod kinds;
mod late_intents;
mod recording;
mod references;
mod retries;
mod unanswered;
