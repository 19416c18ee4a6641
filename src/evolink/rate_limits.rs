//! Limits how often this process calls EvoLink. Polls and submits have separate limits. An app that
//! submits without pause must not prevent polls for lost outcomes. Many overdue tasks must not
//! prevent an app from submitting.

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use governor::{DefaultDirectRateLimiter, Quota};
use tokio::time::{Instant, sleep, timeout};

use crate::turns::Turns;

/// The limits for all calls of this process.
#[derive(Debug)]
pub struct RateLimits {
    polls: DefaultDirectRateLimiter,
    submits: Bucket,
    /// Submits that wait. The API keys take turns, so that one key's flood does not keep the others
    /// out.
    submit_turns: Turns,
}

/// The right to send one submit. If it is dropped unused, another submit may be sent instead.
#[derive(Debug)]
pub struct SubmitPermit<'a> {
    submits: Option<&'a Bucket>,
}

/// Tokens that return at a steady rate.
#[derive(Debug)]
struct Bucket {
    per_second: f64,
    tokens_max: f64,
    filled: Mutex<Filled>,
}

#[derive(Clone, Copy, Debug)]
struct Filled {
    tokens: f64,
    at: Instant,
}

impl RateLimits {
    /// Zero counts as one.
    pub fn new(polls_per_second: u32, submits_per_second: u32) -> Self {
        let polls = NonZeroU32::new(polls_per_second).unwrap_or(NonZeroU32::MIN);
        // Polls are spaced evenly, because no client waits for them. So after a 429 or an outage,
        // they do not reach EvoLink all at once. Submits of one second may be sent together.
        let polls = Quota::per_second(polls).allow_burst(NonZeroU32::MIN);
        Self {
            polls: DefaultDirectRateLimiter::direct(polls),
            submits: Bucket::new(submits_per_second.max(1).into(), submits_per_second.max(1)),
            submit_turns: Turns::new(1),
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

    /// Waits until one more submit of the API key may be sent, at most for `patience`. `None` if
    /// that is too short.
    pub async fn wait_for_submit(
        &self,
        key: &Arc<str>,
        patience: Duration,
    ) -> Option<SubmitPermit<'_>> {
        let waiting = async {
            let _turn = self.submit_turns.take(key).await;
            self.submits.take().await;
        };
        timeout(patience, waiting).await.ok()?;
        Some(SubmitPermit {
            submits: Some(&self.submits),
        })
    }
}

impl SubmitPermit<'_> {
    /// Notes that the submit is sent.
    pub fn use_up(mut self) {
        self.submits = None;
    }
}

impl Drop for SubmitPermit<'_> {
    fn drop(&mut self) {
        if let Some(submits) = self.submits {
            submits.change(|tokens| *tokens += 1.0);
        }
    }
}

impl Bucket {
    fn new(per_second: f64, tokens_max: u32) -> Self {
        let tokens_max = f64::from(tokens_max);
        Self {
            per_second,
            tokens_max,
            filled: Mutex::new(Filled {
                tokens: tokens_max,
                at: Instant::now(),
            }),
        }
    }

    async fn take(&self) {
        loop {
            let missing = self.change(|tokens| {
                let missing = 1.0 - *tokens;
                if missing <= 0.0 {
                    *tokens -= 1.0;
                }
                missing
            });
            if missing <= 0.0 {
                return;
            }
            sleep(Duration::from_secs_f64(missing / self.per_second)).await;
        }
    }

    fn change<T>(&self, change: impl FnOnce(&mut f64) -> T) -> T {
        let mut filled = self.filled.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let gained = now.duration_since(filled.at).as_secs_f64() * self.per_second;
        filled.tokens = (filled.tokens + gained).min(self.tokens_max);
        filled.at = now;
        let changed = change(&mut filled.tokens);
        filled.tokens = filled.tokens.min(self.tokens_max);
        changed
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn a_permit_that_was_not_used_is_for_the_next_submit() {
        let bucket = Bucket::new(0.0, 2);
        let take = || {
            let taken = bucket.take().now_or_never();
            taken.map(|()| SubmitPermit {
                submits: Some(&bucket),
            })
        };
        let (first, second) = (take(), take());
        assert!(first.is_some() && second.is_some());
        drop(first);
        take().expect("the permit of the first").use_up();
        drop(second);
        let third = take();
        assert!(third.is_some());
        assert_eq!(bucket.change(|tokens| tokens.to_string()), "0");
    }

    #[test]
    fn there_are_never_more_permits_than_may_be_used_together() {
        let bucket = Bucket::new(1000.0, 1);
        drop(SubmitPermit {
            submits: Some(&bucket),
        });
        assert_eq!(bucket.change(|tokens| tokens.to_string()), "1");
    }
}
