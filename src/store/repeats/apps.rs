//! The apps that wait at this process for the answer to a submit without an idempotency key.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::ids::SubmissionId;

/// Shared by the handlers, which know when an app leaves, and the recorder, which decides what is a
/// repeat.
#[derive(Clone, Debug, Default)]
pub struct Apps {
    apps: Arc<Mutex<HashMap<SubmissionId, App>>>,
    turns: Arc<AtomicUsize>,
}

#[derive(Clone, Copy, Debug)]
struct App {
    since: Instant,
    /// It has its answer, and the store does not know yet.
    has_answer: bool,
}

impl Apps {
    /// An app begins to wait for the answer to its submit `id`.
    pub fn enter(&self, id: SubmissionId) {
        self.put(id, false);
    }

    /// The answer to submit `id` was handed over whole. Kept until `forget`, so that the row of
    /// `id` counts no more.
    pub fn answered(&self, id: SubmissionId) {
        self.put(id, true);
    }

    /// The app of submit `id` waits no longer.
    pub fn leave(&self, id: SubmissionId) {
        self.with(|apps| apps.remove(&id));
    }

    /// The store knows now that these have their answers.
    pub fn forget(&self, ids: &[SubmissionId]) {
        self.with(|apps| ids.iter().for_each(|id| _ = apps.remove(id)));
    }

    pub fn is_waiting(&self, id: SubmissionId) -> bool {
        self.with(|apps| apps.get(&id).is_some_and(|app| !app.has_answer))
    }

    pub fn has_answer(&self, id: SubmissionId) -> bool {
        self.with(|apps| apps.get(&id).is_some_and(|app| app.has_answer))
    }

    /// Those who have waited for longer than `time`.
    pub fn waiting_for(&self, time: Duration) -> Vec<SubmissionId> {
        self.older_than(time, false)
    }

    /// Those whose answer the store has not taken note of for longer than `time`.
    pub fn unrecorded_for(&self, time: Duration) -> Vec<SubmissionId> {
        self.older_than(time, true)
    }

    /// Counts 0, 1, 2 …
    pub fn turn(&self) -> usize {
        self.turns.fetch_add(1, Ordering::Relaxed)
    }

    fn put(&self, id: SubmissionId, has_answer: bool) {
        let since = Instant::now();
        self.with(|apps| apps.insert(id, App { since, has_answer }));
    }

    fn older_than(&self, time: Duration, has_answer: bool) -> Vec<SubmissionId> {
        self.with(|apps| {
            let apps = apps.iter();
            apps.filter(|(_, app)| app.has_answer == has_answer && app.since.elapsed() >= time)
                .map(|(id, _)| *id)
                .collect()
        })
    }

    fn with<T>(&self, work: impl FnOnce(&mut HashMap<SubmissionId, App>) -> T) -> T {
        work(&mut self.apps.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
