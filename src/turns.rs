//! Permits that callers take in turns. If all are taken, the callers wait in one queue for each API
//! key, and a free permit goes to the next key. So the flood of one key costs the others at most
//! its share, however many requests it sends.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

tokio::task_local! {
    /// The API key that the current future works for.
    static KEY: Arc<str>;
}

/// Returns the API key that the current future works for; empty for the service's own work.
pub fn current_key() -> Arc<str> {
    KEY.try_with(Arc::clone).unwrap_or_else(|_| Arc::from(""))
}

/// Runs `work` for the API key `key`.
pub async fn working_for<T>(key: Arc<str>, work: impl Future<Output = T>) -> T {
    KEY.scope(key, work).await
}

/// A fixed number of permits. Clones share them.
#[derive(Clone, Debug)]
pub struct Turns(Arc<Mutex<State>>);

/// One permit. Dropping it hands it to the next caller that waits.
#[derive(Debug)]
pub struct Turn {
    /// `None` if it was never handed over.
    turns: Option<Turns>,
}

#[derive(Debug)]
struct State {
    free: usize,
    /// The keys with waiting callers, the next one first. No queue is empty.
    queues: VecDeque<(Arc<str>, VecDeque<oneshot::Sender<Turn>>)>,
}

impl Turns {
    pub fn new(permits: usize) -> Self {
        Self(Arc::new(Mutex::new(State {
            free: permits,
            queues: VecDeque::new(),
        })))
    }

    /// Waits for a permit. Dropping the future leaves the queue.
    pub async fn take(&self, key: &Arc<str>) -> Turn {
        loop {
            let waiting = {
                let mut state = self.lock();
                // Callers wait only while no permit is free.
                if state.free > 0 {
                    state.free -= 1;
                    return self.turn();
                }
                state.enqueue(key)
            };
            // The sender is dropped only by a caller that finds this one gone.
            if let Ok(turn) = waiting.await {
                return turn;
            }
        }
    }

    fn turn(&self) -> Turn {
        Turn {
            turns: Some(self.clone()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn enqueue(&mut self, key: &Arc<str>) -> oneshot::Receiver<Turn> {
        let (sender, receiver) = oneshot::channel();
        match self.queues.iter_mut().find(|(known, _)| known == key) {
            Some((_, queue)) => {
                // Callers that left are at any place in the queue. They must not pile up.
                if queue.len() == queue.capacity() {
                    queue.retain(|waiting| !waiting.is_closed());
                }
                queue.push_back(sender);
            }
            None => {
                let queue = VecDeque::from([sender]);
                self.queues.push_back((Arc::clone(key), queue));
            }
        }
        receiver
    }

    /// Takes the first caller of the next key that still waits. Its key goes to the end.
    fn next(&mut self) -> Option<oneshot::Sender<Turn>> {
        while let Some((key, mut queue)) = self.queues.pop_front() {
            let next = std::iter::from_fn(|| queue.pop_front()).find(|next| !next.is_closed());
            if !queue.is_empty() {
                self.queues.push_back((key, queue));
            }
            if next.is_some() {
                return next;
            }
        }
        None
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Some(turns) = self.turns.take() else {
            return;
        };
        loop {
            let next = {
                let mut state = turns.lock();
                let next = state.next();
                state.free += usize::from(next.is_none());
                next
            };
            let Some(next) = next else { return };
            match next.send(turns.turn()) {
                Ok(()) => return,
                // The caller left just now. The permit goes to the next one.
                Err(mut unused) => unused.turns = None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    /// Queues one caller for each name. Returns the order in which they get the only permit.
    fn order(names: &[&str], left: &[usize]) -> Vec<String> {
        let turns = Turns::new(1);
        let keys: Vec<Arc<str>> = names.iter().map(|name| Arc::from(&name[..1])).collect();
        let mut held = turns.take(&Arc::from("")).now_or_never();
        assert!(held.is_some());
        let mut waiting: Vec<_> = keys
            .iter()
            .map(|key| Some(Box::pin(turns.take(key))))
            .collect();
        for waiting in waiting.iter_mut().flatten() {
            assert!(waiting.as_mut().now_or_never().is_none());
        }
        for left in left {
            waiting[*left] = None;
        }
        let mut order = Vec::new();
        while held.take().is_some() {
            for (name, slot) in names.iter().zip(&mut waiting) {
                let turn = slot
                    .as_mut()
                    .and_then(|waiting| waiting.as_mut().now_or_never());
                if let Some(turn) = turn {
                    *slot = None;
                    order.push((*name).to_owned());
                    held = Some(turn);
                    break;
                }
            }
        }
        assert_eq!(turns.lock().free, 1, "the permit is back");
        order
    }

    #[test]
    fn keys_take_turns_however_many_callers_each_has() {
        let order_of = |names: &[&str]| order(names, &[]).join(" ");
        assert_eq!(order_of(&["a1", "a2", "a3", "b1"]), "a1 b1 a2 a3");
        assert_eq!(order_of(&["a1", "a2", "b1", "c1", "b2"]), "a1 b1 c1 a2 b2");
    }

    #[test]
    fn a_caller_that_left_is_passed_over() {
        assert_eq!(order(&["a1", "a2", "b1"], &[0]).join(" "), "a2 b1");
        assert_eq!(order(&["a1", "b1"], &[0, 1]).len(), 0);
    }

    #[test]
    fn a_permit_that_is_on_its_way_to_a_caller_that_leaves_is_not_lost() {
        let (turns, key) = (Turns::new(1), Arc::from("a"));
        let held = turns.take(&key).now_or_never();
        let mut waiting = Box::pin(turns.take(&key));
        assert!(waiting.as_mut().now_or_never().is_none());
        drop(held);
        drop(waiting);
        assert!(turns.take(&key).now_or_never().is_some());
    }
}
