//! When somebody heard of the end of which task.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use memchr::memmem;
use tokio::time::sleep;

use crate::callback::TaskNumber;
use crate::load::Answered;
use crate::report::milliseconds;

/// What task ids begin with.
const PREFIX: &[u8] = b"task-unified-";

const ID_BYTES: usize = 32;

/// How long the last of them may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Shared by those who hear, and those who ask what they heard.
#[derive(Clone, Debug, Default)]
pub struct Arrivals(Arc<Mutex<HashMap<Vec<u8>, Instant>>>);

/// How long after its callback somebody heard of a task. In milliseconds, sorted.
#[derive(Clone, Debug)]
pub struct Delays {
    /// From the answer to EvoLink; below 0 if they heard before EvoLink did.
    pub after_answer: Vec<f64>,
    /// From the time at which the callback was due.
    pub after_due: Vec<f64>,
    /// Of those who heard nothing.
    pub missing: usize,
}

impl Arrivals {
    /// `text` came just now and is about the task that it names first. What comes again is no news.
    pub fn note(&self, text: &[u8]) {
        let now = Instant::now();
        let Some(at) = memmem::find(text, PREFIX) else {
            return;
        };
        let Some(id) = text.get(at..at + ID_BYTES) else {
            return;
        };
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        heard.entry(id.to_vec()).or_insert(now);
    }

    pub fn count(&self) -> usize {
        let heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        heard.len()
    }

    fn of(&self, task: TaskNumber) -> Option<Instant> {
        let heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        heard.get(task.id().as_bytes()).copied()
    }

    /// Waits until all of them arrived, or so long that none will.
    pub async fn wait_for(&self, count: usize) {
        let begun = Instant::now();
        while self.count() < count && begun.elapsed() < PATIENCE {
            sleep(Duration::from_millis(10)).await;
        }
    }

    pub fn delays(&self, answered: &[Answered]) -> Delays {
        let mut delays = Delays {
            after_answer: Vec::new(),
            after_due: Vec::new(),
            missing: 0,
        };
        for one in answered {
            let Some(heard) = one.task.and_then(|task| self.of(task)) else {
                delays.missing += 1;
                continue;
            };
            let after_answer = signed(heard, one.at);
            let latency = Duration::from_micros(one.latency_us.into());
            delays.after_answer.push(after_answer);
            delays.after_due.push(after_answer + milliseconds(latency));
        }
        delays.after_answer.sort_unstable_by(f64::total_cmp);
        delays.after_due.sort_unstable_by(f64::total_cmp);
        delays
    }
}

fn signed(later: Instant, earlier: Instant) -> f64 {
    let forward = later.saturating_duration_since(earlier);
    let backward = earlier.saturating_duration_since(later);
    milliseconds(forward) - milliseconds(backward)
}

/// So many thousandths of the sorted values are at most this.
pub fn permille(sorted: &[f64], thousandths: usize) -> f64 {
    let at = (sorted.len() * thousandths).div_ceil(1000);
    sorted
        .get(at.saturating_sub(1))
        .copied()
        .unwrap_or(f64::NAN)
}
