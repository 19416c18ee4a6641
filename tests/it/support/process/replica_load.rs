//! EvoLink under load, at all replicas at once: each callback is sent until it is answered 2xx,
//! first to one replica, then to the next one. Every answer is kept with the time it took.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::load::callback;
use super::receiver::Receiver;
use crate::support::described;
use crate::support::store::check::Acknowledged;
use crate::support::until::PATIENCE;

/// Concurrent senders: the same number for each replica.
const SENDERS: usize = 18;

/// EvoLink hangs up after 10 s, so a later answer does not reach it. The test waits longer, to
/// measure how long the answer took.
pub const EVOLINK_HANGS_UP: Duration = Duration::from_secs(10);
const STAYS: Duration = Duration::from_secs(20);

/// EvoLink waits longer. This keeps the number of refusals readable.
const BEFORE_NEXT_TRY: Duration = Duration::from_millis(50);

/// One request.
#[derive(Clone, Copy, Debug)]
pub struct Attempt {
    /// The replica's index.
    pub at: usize,
    pub began: Instant,
    pub took: Duration,
    /// `None` if there was no answer.
    pub status: Option<u16>,
}

/// A running load. It knows the replicas by their addresses, because they may end and be started
/// again.
pub struct Load {
    stop: Arc<AtomicBool>,
    log: Arc<Mutex<Report>>,
    senders: JoinSet<()>,
}

/// The answers.
#[derive(Default)]
pub struct Report {
    pub acknowledged: Vec<Acknowledged>,
    pub attempts: Vec<Attempt>,
}

impl Load {
    pub fn start(receivers: &[Receiver]) -> Self {
        let (stop, log) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let mut senders = JoinSet::new();
        for number in 0..SENDERS {
            let (stop, log) = (Arc::clone(&stop), Arc::clone(&log));
            let clients = receivers
                .iter()
                .map(|receiver| (receiver.http.clone(), receiver.callback_url()));
            let clients = clients.collect();
            senders.spawn(send(number, clients, stop, log));
        }
        Self { stop, log, senders }
    }

    /// Returns when each of the replicas has acknowledged a callback that was sent after this call.
    pub async fn is_acknowledged_at(&self, replicas: &[usize]) {
        let now = Instant::now();
        for at in replicas {
            let came = || {
                let report = self.log.lock().unwrap();
                let latest = report.attempts.iter().rev();
                let mut since = latest.take_while(|attempt| attempt.ended() >= now);
                since.any(|attempt| attempt.at == *at && attempt.began >= now && attempt.is_ok())
            };
            while !came() {
                assert!(
                    now.elapsed() < PATIENCE,
                    "replica {at} acknowledges nothing"
                );
                sleep(Duration::from_millis(2)).await;
            }
        }
    }

    pub async fn stop(self) -> Report {
        self.stop.store(true, Ordering::Relaxed);
        self.senders.join_all().await;
        std::mem::take(&mut self.log.lock().unwrap())
    }
}

/// Sends callbacks. Half of the senders prefer one replica each, so that a frozen one does not
/// block them all; the others rotate. After a failure the same callback goes to the next replica.
async fn send(
    number: usize,
    clients: Vec<(described::Client, String)>,
    stop: Arc<AtomicBool>,
    log: Arc<Mutex<Report>>,
) {
    let (mut n, mut failures) = (0, 0);
    while !stop.load(Ordering::Relaxed) {
        // With rotation, each replica gets a callback of each task.
        let turn = usize::try_from(n).unwrap() * usize::from(number.is_multiple_of(2));
        let target = (number + turn + failures) % clients.len();
        let (http, url) = &clients[target];
        let callback = callback(number, n);
        let began = Instant::now();
        let request = http.post(url).timeout(STAYS).body(callback.body.clone());
        let sent = request.send().await;
        let attempt = Attempt {
            at: target,
            began,
            took: began.elapsed(),
            status: sent.ok().map(|answer| answer.status().as_u16()),
        };
        log.lock().unwrap().note(attempt, callback);
        if attempt.is_ok() {
            (n, failures) = (n + 1, 0);
        } else {
            failures += 1;
            sleep(BEFORE_NEXT_TRY).await;
        }
    }
}

impl Attempt {
    pub fn is_ok(&self) -> bool {
        self.status
            .is_some_and(|status| (200..300).contains(&status))
    }

    pub fn ended(&self) -> Instant {
        self.began + self.took
    }
}

impl Report {
    fn note(&mut self, attempt: Attempt, callback: Acknowledged) {
        self.attempts.push(attempt);
        if attempt.is_ok() {
            self.acknowledged.push(callback);
        }
    }

    /// Asserts that no callback at these replicas waited longer than EvoLink does. Returns the
    /// longest time.
    pub fn assert_in_time(&self, counts: impl Fn(&Attempt) -> bool) -> Duration {
        let counted = self.attempts.iter().filter(|attempt| counts(attempt));
        let longest = counted.map(|attempt| attempt.took).max();
        let longest = longest.unwrap_or_default();
        assert!(longest < EVOLINK_HANGS_UP, "an answer took {longest:?}");
        longest
    }

    /// The time from `event` to the first callback that was sent after it and acknowledged.
    pub fn recovery(&self, event: Instant) -> Duration {
        let good = self.attempts.iter().filter(|attempt| attempt.is_ok());
        let after = good.filter(|attempt| attempt.began >= event);
        let first = after.map(Attempt::ended).min();
        first.expect("it was acknowledged again") - event
    }

    /// Whether a callback was answered 503 in this interval.
    pub fn is_refused_between(&self, from: Instant, to: Instant) -> bool {
        let mut refused = self.attempts.iter();
        refused.any(|one| one.status == Some(503) && one.ended() > from && one.ended() < to)
    }

    /// Asserts that only answers occur which EvoLink understands: 200, 503, or none.
    pub fn assert_statuses(&self) {
        let mut odd = self.attempts.iter().filter_map(|attempt| attempt.status);
        let odd = odd.find(|status| ![200, 503].contains(status));
        assert_eq!(odd, None, "{self}");
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut answers = BTreeMap::new();
        for attempt in &self.attempts {
            *answers.entry(attempt.status).or_insert(0) += 1;
        }
        let acknowledged = self.acknowledged.len();
        write!(f, "{acknowledged} callbacks acknowledged, answers:")?;
        for (status, count) in answers {
            match status {
                Some(status) => write!(f, " {status}: {count}")?,
                None => write!(f, " none: {count}")?,
            }
        }
        Ok(())
    }
}
