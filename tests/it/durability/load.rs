//! EvoLink under load: many callbacks at once, each sent until it is answered 2xx, and a log of what was.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::receiver::{PATIENCE, Receiver};

/// Senders at once: enough that several callbacks are in one commit.
const SENDERS: u64 = 16;

/// A callback that was answered 2xx.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Acknowledged {
    pub task_id: String,
    pub body: String,
    pub is_outcome: bool,
}

/// Outlives the receivers that it loads: what the last one did not answer, the next one is sent again.
#[derive(Default)]
pub struct Load {
    acknowledged: Arc<Mutex<Vec<Acknowledged>>>,
    sent: Arc<AtomicU64>,
    senders: Vec<Arc<AtomicU64>>,
}

/// A load under way.
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

    /// Over replicas. What one of them does not answer, the next one is sent again.
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
    /// Callbacks acknowledged since it began.
    pub fn count(&self) -> usize {
        self.acknowledged.lock().unwrap().len() - self.before
    }

    /// Waits until so many were acknowledged since it began, so that what follows happens under load on any machine.
    pub async fn reached(&self, count: usize) {
        let deadline = Instant::now() + PATIENCE;
        while self.count() < count {
            assert!(Instant::now() < deadline, "nothing is acknowledged");
            sleep(Duration::from_millis(1)).await;
        }
    }

    /// Waits until so many more were sent, however they were answered.
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

/// A sender's `n`th callback. Each task is heard of four times, twice of its outcome.
pub fn callback(sender: usize, n: u64) -> Acknowledged {
    let task_id = format!("task-unified-{sender}-{}", n / 4);
    let (status, progress) = match n % 4 {
        0 => ("processing", 10),
        1 => ("processing", 60),
        _ => ("completed", 100),
    };
    // No two bodies are the same.
    let body = format!(
        r#"{{"id":"{task_id}","status":"{status}","progress":{progress},"results":["https://files.evolink.ai/{task_id}.webp"],"n":{n}}}"#
    );
    Acknowledged {
        task_id,
        body,
        is_outcome: status == "completed",
    }
}
