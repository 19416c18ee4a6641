//! Limits how often this process calls EvoLink. Polls and submits have separate limits. An app that
//! submits without pause must not prevent polls for lost outcomes. Many overdue tasks must not
//! prevent an app from submitting.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::{DefaultDirectRateLimiter, Quota};
use tokio::sync::Mutex;
use tokio::time::timeout;

/// The limits for all calls of this process.
#[derive(Debug)]
pub struct RateLimits {
    polls: DefaultDirectRateLimiter,
    submits: DefaultDirectRateLimiter,
    /// The queue of submits that wait: first come, first served.
    submit_queue: Mutex<()>,
}

impl RateLimits {
    /// Zero counts as one.
    pub fn new(polls_per_second: u32, submits_per_second: u32) -> Self {
        let per_second =
            |number| Quota::per_second(NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN));
        // Polls are spaced evenly, because no client waits for them. So after a 429 or an outage,
        // they do not reach EvoLink all at once. Submits of one second may be sent together.
        let polls = per_second(polls_per_second).allow_burst(NonZeroU32::MIN);
        Self {
            polls: DefaultDirectRateLimiter::direct(polls),
            submits: DefaultDirectRateLimiter::direct(per_second(submits_per_second)),
            submit_queue: Mutex::default(),
        }
    }

    /// Waits until one more poll may be sent.
    pub async fn wait_for_poll(&self) {
        self.polls.until_ready().await;
    }

    /// Counts another read call as one poll, without waiting.
    pub fn count_read(&self) {
        let _ = self.polls.check();
    }

    /// Waits until one more submit may be sent, at most for `patience`. Returns whether it may.
    pub async fn wait_for_submit(&self, patience: Duration) -> bool {
        let turn = async {
            let _first = self.submit_queue.lock().await;
            self.submits.until_ready().await;
        };
        timeout(patience, turn).await.is_ok()
    }
}
