//! The apps that wait at this process for the answer to a submit without an idempotency key.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::ids::SubmissionId;

/// The registry of these apps. It is shared by the handlers, which know when an app leaves, and the
/// recorder, which decides what is a repeat.
#[derive(Clone, Debug)]
pub struct Apps {
    apps: Arc<Mutex<HashMap<SubmissionId, App>>>,
    turns: Arc<[AtomicUsize; TURNS]>,
}

/// Equal submits share a counter, which few others use.
const TURNS: usize = 64;

/// The limit of apps in the registry. Connections bound the number of waiting apps. Ends that the
/// store has not recorded have no other bound while the store fails.
const APPS_MAX: usize = 20_000;

#[derive(Clone, Copy, Debug)]
struct App {
    since: Instant,
    state: AppState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AppState {
    Waits,
    /// The app has its answer, but the store does not know yet.
    HasAnswer,
    /// The app left without its answer, but the store does not know yet.
    Left,
}

impl Default for Apps {
    fn default() -> Self {
        Self {
            apps: Arc::default(),
            turns: Arc::new([const { AtomicUsize::new(0) }; TURNS]),
        }
    }
}

impl Apps {
    /// Notes that an app waits for the answer to its submit `id`.
    pub fn enter(&self, id: SubmissionId) {
        self.put(id, AppState::Waits);
    }

    /// Notes that the complete answer to submit `id` was sent. Kept until `forget`, so that the row
    /// of `id` is ignored.
    pub fn answered(&self, id: SubmissionId) {
        self.put(id, AppState::HasAnswer);
    }

    /// Notes that the app of submit `id` left without its answer. Kept until the store knows.
    pub fn left(&self, id: SubmissionId) {
        self.put(id, AppState::Left);
    }

    /// Notes that the app of submit `id` no longer waits and that the submit has no row.
    pub fn leave(&self, id: SubmissionId) {
        self.with(|apps| apps.remove(&id));
    }

    /// Removes apps whose answers the store has recorded.
    pub fn forget(&self, ids: &[SubmissionId]) {
        self.with(|apps| ids.iter().for_each(|id| _ = apps.remove(id)));
    }

    /// Removes apps whose departure the store has recorded.
    pub fn forget_left(&self, ids: &[SubmissionId]) {
        self.with(|apps| {
            for id in ids {
                // A repeat may have its answer meanwhile, and the store does not know that yet.
                if apps.get(id).is_some_and(|app| app.state == AppState::Left) {
                    apps.remove(id);
                }
            }
        });
    }

    pub fn is_waiting(&self, id: SubmissionId) -> bool {
        self.is(id, AppState::Waits)
    }

    pub fn has_answer(&self, id: SubmissionId) -> bool {
        self.is(id, AppState::HasAnswer)
    }

    /// Lists apps that have waited for longer than `time`.
    pub fn waiting_for(&self, time: Duration) -> Vec<SubmissionId> {
        let waiting = self.older_than(time, |state| state == AppState::Waits);
        waiting.into_iter().map(|(id, _)| id).collect()
    }

    /// Lists ends that the store has not recorded for longer than `time`: at most `count` apps, and
    /// whether each has its answer.
    pub fn unrecorded_for(&self, time: Duration, count: usize) -> Vec<(SubmissionId, bool)> {
        let mut unrecorded = self.older_than(time, |state| state != AppState::Waits);
        unrecorded.sort_unstable_by_key(|(id, _)| *id);
        unrecorded.truncate(count);
        let unrecorded = unrecorded.into_iter();
        unrecorded
            .map(|(id, state)| (id, state == AppState::HasAnswer))
            .collect()
    }

    /// Returns consecutive numbers on successive calls for the same fingerprint, unless submits
    /// with another one share its counter.
    pub fn turn(&self, fingerprint: &[u8; 32]) -> usize {
        self.turns[usize::from(fingerprint[0]) % TURNS].fetch_add(1, Ordering::Relaxed)
    }

    fn is(&self, id: SubmissionId, state: AppState) -> bool {
        self.with(|apps| apps.get(&id).is_some_and(|app| app.state == state))
    }

    fn put(&self, id: SubmissionId, state: AppState) {
        let since = Instant::now();
        self.with(|apps| {
            if state != AppState::Waits && apps.len() >= APPS_MAX {
                apps.remove(&id);
            } else {
                apps.insert(id, App { since, state });
            }
        });
    }

    fn older_than(
        &self,
        time: Duration,
        is_it: impl Fn(AppState) -> bool,
    ) -> Vec<(SubmissionId, AppState)> {
        self.with(|apps| {
            let apps = apps.iter();
            apps.filter(|(_, app)| is_it(app.state) && app.since.elapsed() >= time)
                .map(|(id, app)| (*id, app.state))
                .collect()
        })
    }

    fn with<T>(&self, work: impl FnOnce(&mut HashMap<SubmissionId, App>) -> T) -> T {
        work(&mut self.apps.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
