//! How often this process calls EvoLink, at most. Two limits and not one: an app that submits without end must not keep lost
//! outcomes from being found, nor many overdue tasks an app from submitting.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::{DefaultDirectRateLimiter, Quota};
use tokio::sync::Mutex;
use tokio::time::timeout;

/// The limits of all calls of this process.
#[derive(Debug)]
pub struct RateLimits {
    polls: DefaultDirectRateLimiter,
    submits: DefaultDirectRateLimiter,
    /// Who waits for a submit: the first come is the first to go.
    line: Mutex<()>,
}

impl RateLimits {
    /// Zero counts as one.
    pub fn new(polls_per_second: u32, submits_per_second: u32) -> Self {
        let per_second =
            |number| Quota::per_second(NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN));
        // Polls come evenly, for nobody waits for one: after a 429 or an outage EvoLink is not met by all at once. Of
        // submits a second's worth may come together.
        let polls = per_second(polls_per_second).allow_burst(NonZeroU32::MIN);
        Self {
            polls: DefaultDirectRateLimiter::direct(polls),
            submits: DefaultDirectRateLimiter::direct(per_second(submits_per_second)),
            line: Mutex::default(),
        }
    }

    /// Returns when one more poll may be sent.
    pub async fn poll(&self) {
        self.polls.until_ready().await;
    }

    /// A question of another kind, which does not wait, takes the place of a poll.
    pub fn read(&self) {
        let _ = self.polls.check();
    }

    /// Whether one more submit may be sent; waits for that, at most so long.
    pub async fn submit(&self, patience: Duration) -> bool {
        let turn = async {
            let _first = self.line.lock().await;
            self.submits.until_ready().await;
        };
        timeout(patience, turn).await.is_ok()
    }
}
