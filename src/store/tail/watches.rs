//! The registry of waiters, by task. A watch is registered from its creation until it is dropped.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::domain::ids::SubmissionId;

#[derive(Clone, Debug, Default)]
pub(super) struct Watches(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    by_task: Mutex<HashMap<SubmissionId, Vec<Arc<Notify>>>>,
    /// Signals the first waiter after there were none.
    wanted: Notify,
}

/// A waiter for news of one task. Create it, then query the store, then wait.
#[derive(Debug)]
pub struct TaskWatch {
    watches: Watches,
    id: SubmissionId,
    news: Arc<Notify>,
}

impl TaskWatch {
    /// Waits until the task may have changed since the watch was created, or since this last
    /// returned. It may also return without a change, or because the log cannot be read. So query
    /// the store.
    pub async fn news(&mut self) {
        self.news.notified().await;
    }
}

impl Drop for TaskWatch {
    fn drop(&mut self) {
        let mut by_task = self.watches.lock();
        if let Some(of_task) = by_task.get_mut(&self.id) {
            of_task.retain(|news| !Arc::ptr_eq(news, &self.news));
            if of_task.is_empty() {
                by_task.remove(&self.id);
            }
        }
    }
}

impl Watches {
    pub(super) fn add(&self, id: SubmissionId) -> TaskWatch {
        let news = Arc::new(Notify::new());
        let mut by_task = self.lock();
        let is_first = by_task.is_empty();
        by_task.entry(id).or_default().push(Arc::clone(&news));
        drop(by_task);
        if is_first {
            self.0.wanted.notify_one();
        }
        TaskWatch {
            watches: self.clone(),
            id,
            news,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Waits until there is a waiter. That waiter may be gone again by the time this returns.
    pub(super) async fn wanted(&self) {
        self.0.wanted.notified().await;
    }

    pub(super) fn notify(&self, ids: impl IntoIterator<Item = SubmissionId>) {
        let by_task = self.lock();
        if by_task.is_empty() {
            return;
        }
        for id in ids {
            for news in by_task.get(&id).into_iter().flatten() {
                // The notification is stored if the waiter is not waiting at this moment.
                news.notify_one();
            }
        }
    }

    pub(super) fn notify_all(&self) {
        for news in self.lock().values().flatten() {
            news.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SubmissionId, Vec<Arc<Notify>>>> {
        self.0
            .by_task
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;
    use crate::domain::timestamp::Timestamp;

    fn id() -> SubmissionId {
        SubmissionId::new(Timestamp::from_millis(0))
    }

    fn has_news(watch: &mut TaskWatch) -> bool {
        watch.news().now_or_never().is_some()
    }

    #[test]
    fn only_the_waiters_of_a_task_are_notified() {
        let watches = Watches::default();
        let (one, other) = (id(), id());
        let mut of_one = [watches.add(one), watches.add(one)];
        let mut of_other = watches.add(other);
        watches.notify([one, id()]);
        assert!(of_one.iter_mut().all(has_news));
        assert!(!has_news(&mut of_other));
        assert!(!has_news(&mut of_one[0]), "it was told once");
        watches.notify_all();
        assert!(of_one.iter_mut().all(has_news) && has_news(&mut of_other));
    }

    #[test]
    fn a_dropped_watch_leaves_nothing_behind() {
        let watches = Watches::default();
        let one = id();
        let first = watches.add(one);
        let mut second = watches.add(one);
        drop(first);
        watches.notify([one]);
        assert!(has_news(&mut second));
        drop(second);
        assert!(watches.is_empty());
    }
}
