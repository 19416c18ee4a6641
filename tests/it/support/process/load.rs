//! EvoLink under load: sends many callbacks concurrently, each until it is answered 2xx, and logs
//! the acknowledged ones.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::receiver::Receiver;
use crate::support::store::check::Acknowledged;
use crate::support::until::PATIENCE;

/// Concurrent senders: enough that one commit contains several callbacks.
const SENDERS: u64 = 16;

/// The load on one receiver after another. A callback that one receiver did not answer is sent
/// again to the next.
#[derive(Default)]
pub struct Load {
    acknowledged: Arc<Mutex<Vec<Acknowledged>>>,
    sent: Arc<AtomicU64>,
    senders: Vec<Arc<AtomicU64>>,
}

/// A running load.
pub struct Running {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<Mutex<Vec<Acknowledged>>>,
    before: usize,
    sent: Arc<AtomicU64>,
    senders: JoinSet<()>,
}

impl Load {
    pub fn new() -> Self {
        Self {
            acknowledged: Arc::default(),
            sent: Arc::default(),
            senders: (0..SENDERS).map(|_| Arc::default()).collect(),
        }
    }

    pub fn acknowledged(&self) -> Vec<Acknowledged> {
        self.acknowledged.lock().unwrap().clone()
    }

    pub fn start(&self, receiver: &Receiver) -> Running {
        self.start_over(&[receiver])
    }

    /// Starts a load over several replicas. A callback that one replica does not answer is sent
    /// again to the next.
    pub fn start_over(&self, receivers: &[&Receiver]) -> Running {
        let stop = Arc::new(AtomicBool::new(false));
        let mut senders = JoinSet::new();
        for (number, next) in self.senders.iter().enumerate() {
            let (next, log, stop, count) = (
                Arc::clone(next),
                Arc::clone(&self.acknowledged),
                Arc::clone(&stop),
                Arc::clone(&self.sent),
            );
            let targets = receivers.iter().cycle().skip(number);
            let targets = targets.take(receivers.len());
            let targets: Vec<_> = targets
                .map(|receiver| (receiver.http.clone(), receiver.callback_url()))
                .collect();
            senders.spawn(async move {
                let mut targets = targets.iter().cycle();
                while !stop.load(Ordering::Relaxed) {
                    let callback = callback(number, next.load(Ordering::Relaxed));
                    let (http, url) = targets.next().expect("a receiver");
                    let sent = http.post(url).body(callback.body.clone()).send().await;
                    count.fetch_add(1, Ordering::Relaxed);
                    if sent.is_ok_and(|answer| answer.status().is_success()) {
                        log.lock().unwrap().push(callback);
                        next.fetch_add(1, Ordering::Relaxed);
                    } else {
                        sleep(Duration::from_millis(2)).await;
                    }
                }
            });
        }
        Running {
            stop,
            before: self.acknowledged.lock().unwrap().len(),
            acknowledged: Arc::clone(&self.acknowledged),
            sent: Arc::clone(&self.sent),
            senders,
        }
    }
}

impl Running {
    /// The number of callbacks acknowledged since this load started.
    pub fn count(&self) -> usize {
        self.acknowledged.lock().unwrap().len() - self.before
    }

    /// Waits until `count` callbacks were acknowledged since this load started, so that the next
    /// step happens under load on any machine.
    pub async fn reached(&self, count: usize) {
        let deadline = Instant::now() + PATIENCE;
        while self.count() < count {
            assert!(Instant::now() < deadline, "nothing is acknowledged");
            sleep(Duration::from_millis(1)).await;
        }
    }

    /// Waits until `count` more callbacks were sent, whatever the answers.
    pub async fn sent(&self, count: u64) {
        let deadline = Instant::now() + PATIENCE;
        let wanted = self.sent.load(Ordering::Relaxed) + count;
        while self.sent.load(Ordering::Relaxed) < wanted {
            assert!(Instant::now() < deadline, "nothing is answered");
            sleep(Duration::from_millis(1)).await;
        }
    }

    pub async fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.senders.join_all().await;
    }
}

/// Returns a sender's `n`th callback. Each task gets four callbacks, two of them with its outcome.
pub fn callback(sender: usize, n: u64) -> Acknowledged {
    let task_id = format!("task-unified-{sender}-{}", n / 4);
    let (status, progress) = match n % 4 {
        0 => ("processing", 10),
        1 => ("processing", 60),
        _ => ("completed", 100),
    };
    // No two bodies are equal.
    let body = format!(
        r#"{{"id":"{task_id}","status":"{status}","progress":{progress},"results":["https://files.evolink.ai/{task_id}.webp"],"n":{n}}}"#
    );
    Acknowledged {
        task_id,
        body,
        is_outcome: status == "completed",
    }
}
