//! Records when a consumer first learned the outcome of each task.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use memchr::memmem;
use tokio::time::sleep;

use crate::callback::TaskNumber;
use crate::load::Answered;
use crate::numbers::milliseconds;

/// The prefix of task ids.
const PREFIX: &[u8] = b"task-unified-";

const ID_BYTES: usize = 32;

/// How long to wait for the last arrivals.
const PATIENCE: Duration = Duration::from_secs(20);

/// Shared by the consumers, which add arrivals, and the code that evaluates them.
#[derive(Clone, Debug, Default)]
pub struct Arrivals(Arc<Mutex<HashMap<Vec<u8>, Instant>>>);

/// How long after its callback a consumer learned a task's outcome. In milliseconds, sorted.
#[derive(Clone, Debug)]
pub struct Delays {
    /// The time since the response to EvoLink. Negative if the consumer learned the outcome before
    /// that.
    pub after_answer: Vec<f64>,
    /// The time since the callback was due.
    pub after_due: Vec<f64>,
    /// The number of tasks whose outcome did not arrive.
    pub missing: usize,
}

impl Arrivals {
    /// Records that `text` has just arrived. It is about the first task that it names. Repetitions
    /// are ignored.
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

    /// Waits until `count` outcomes have arrived, or until the rest will not arrive any more.
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

/// Returns the value that the given thousandths of the sorted values do not exceed.
pub fn permille(sorted: &[f64], thousandths: usize) -> f64 {
    let at = (sorted.len() * thousandths).div_ceil(1000);
    sorted
        .get(at.saturating_sub(1))
        .copied()
        .unwrap_or(f64::NAN)
}
