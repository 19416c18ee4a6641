//! EvoLink under load, at all replicas at once: each callback is sent until it is answered 2xx, first to one replica, then
//! to the next one. Every answer is kept, and how long it took.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::durability::load::{Acknowledged, callback};
use crate::durability::receiver::{PATIENCE, Receiver};

/// As many for each replica.
const SENDERS: usize = 18;

/// EvoLink hangs up at 10 s, so an answer that comes later is none. We stay, and see how long it took.
pub const EVOLINK_HANGS_UP: Duration = Duration::from_secs(10);
const STAYS: Duration = Duration::from_secs(20);

/// EvoLink waits longer; this keeps the refusals to a number that can be read.
const BEFORE_NEXT_TRY: Duration = Duration::from_millis(50);

/// One request.
#[derive(Clone, Copy, Debug)]
pub struct Attempt {
    /// Which replica.
    pub at: usize,
    pub began: Instant,
    pub took: Duration,
    /// `None` if there was no answer.
    pub status: Option<u16>,
}

/// A load under way. It knows replicas by their addresses: they may end, and be started again.
pub struct Load {
    stop: Arc<AtomicBool>,
    log: Arc<Mutex<Report>>,
    senders: JoinSet<()>,
}

/// What was answered.
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

    /// Returns when each of the replicas has acknowledged a callback that was sent after now.
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

/// Half of the senders have a replica each that they return to, so that a frozen one does not gather them all; the others
/// go from one to the next. After a failure the same callback goes to the next one.
async fn send(
    number: usize,
    clients: Vec<(reqwest::Client, String)>,
    stop: Arc<AtomicBool>,
    log: Arc<Mutex<Report>>,
) {
    let (mut n, mut failures) = (0, 0);
    while !stop.load(Ordering::Relaxed) {
        // Each task is heard of at each replica.
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

    /// Nobody at these replicas waited longer than EvoLink does. Gives the longest.
    pub fn assert_in_time(&self, counts: impl Fn(&Attempt) -> bool) -> Duration {
        let counted = self.attempts.iter().filter(|attempt| counts(attempt));
        let longest = counted.map(|attempt| attempt.took).max();
        let longest = longest.unwrap_or_default();
        assert!(longest < EVOLINK_HANGS_UP, "an answer took {longest:?}");
        longest
    }

    /// From `event` to the first callback that was sent after it and acknowledged.
    pub fn recovery(&self, event: Instant) -> Duration {
        let good = self.attempts.iter().filter(|attempt| attempt.is_ok());
        let after = good.filter(|attempt| attempt.began >= event);
        let first = after.map(Attempt::ended).min();
        first.expect("it was acknowledged again") - event
    }

    /// Whether somebody was told then to come again.
    pub fn is_refused_between(&self, from: Instant, to: Instant) -> bool {
        let mut refused = self.attempts.iter();
        refused.any(|one| one.status == Some(503) && one.ended() > from && one.ended() < to)
    }

    /// Only such answers as EvoLink understands: 200, 503, or none.
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
