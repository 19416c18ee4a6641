//! Permits to wait. Waiting queries and event streams hold a connection for a long time. So
//! together they may hold only a part of all connections, and each API key only a part of that. A
//! `WaitPermit` is one permit. Dropping it returns the permit, so no exit path can leak one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;

use super::Caller;
use crate::http::internal::error::ApiError;
use crate::observe::metrics::Metrics;

/// Maximum number of waiters that query the store at once. All waiters of a task are notified
/// together, and waits that began together end together. The excess queues here and not for the few
/// connections of the store, where it would delay every other request.
const QUERIES_AT_ONCE: usize = 4;

/// All permits of the internal listener. Cheap to clone.
#[derive(Clone, Debug)]
pub struct WaitPermits(Arc<Limits>);

#[derive(Debug)]
struct Limits {
    permits_max: usize,
    per_key_max: usize,
    taken: Mutex<Taken>,
    queries: Semaphore,
    metrics: Metrics,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_key: HashMap<Arc<str>, usize>,
}

/// A permit for one waiting query or event stream.
#[derive(Debug)]
pub struct WaitPermit {
    limits: Arc<Limits>,
    /// `None` if no API keys are configured. Then all clients count as one caller and share all
    /// permits.
    key: Option<Arc<str>>,
}

impl WaitPermits {
    /// Keeps a quarter of `connections_max` free for requests that do not wait.
    pub fn new(connections_max: usize, metrics: Metrics) -> Self {
        let permits_max = (connections_max - connections_max / 4).max(1);
        Self(Arc::new(Limits {
            permits_max,
            per_key_max: (permits_max / 2).max(1),
            taken: Mutex::default(),
            queries: Semaphore::new(QUERIES_AT_ONCE),
            metrics,
        }))
    }

    /// # Errors
    /// 503 `too_many_waiting` if all permits, or all that one key may have, are taken.
    pub fn take(&self, caller: &Caller) -> Result<WaitPermit, ApiError> {
        let permit = self.0.take(caller.name.as_deref());
        match permit {
            Some(_) => self.0.metrics.seat_taken(),
            None => self.0.metrics.seat_refused(),
        }
        permit.ok_or_else(ApiError::too_many_waiting)
    }
}

impl WaitPermit {
    /// Runs a query of the store. At most `QUERIES_AT_ONCE` waiters do so at a time.
    pub async fn query<T>(&self, query: impl Future<Output = T>) -> T {
        let _turn = self.limits.queries.acquire().await;
        query.await
    }
}

impl Limits {
    fn take(self: &Arc<Self>, name: Option<&str>) -> Option<WaitPermit> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.all >= self.permits_max {
            return None;
        }
        let key = match name {
            None => None,
            Some(name) => Some(taken.count(name, self.per_key_max)?),
        };
        taken.all += 1;
        drop(taken);
        Some(WaitPermit {
            limits: Arc::clone(self),
            key,
        })
    }
}

impl Taken {
    /// Counts one more permit for the key `name`. Returns `None` if the key has reached its limit.
    /// All permits of a key share one copy of its name.
    fn count(&mut self, name: &str, per_key_max: usize) -> Option<Arc<str>> {
        let Some((key, &of_key)) = self.by_key.get_key_value(name) else {
            let key = Arc::<str>::from(name);
            self.by_key.insert(Arc::clone(&key), 1);
            return Some(key);
        };
        if of_key >= per_key_max {
            return None;
        }
        let key = Arc::clone(key);
        self.by_key.insert(Arc::clone(&key), of_key + 1);
        Some(key)
    }
}

impl Drop for WaitPermit {
    fn drop(&mut self) {
        let limits = &self.limits;
        let mut taken = limits.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.all -= 1;
        if let Some(key) = &self.key
            && let Some(of_key) = taken.by_key.get_mut(key)
        {
            *of_key -= 1;
            if *of_key == 0 {
                taken.by_key.remove(key);
            }
        }
        limits.metrics.seat_given_back();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> Caller {
        Caller {
            name: Some(name.to_owned()),
        }
    }

    fn wait_permits(connections_max: usize) -> WaitPermits {
        WaitPermits::new(connections_max, Metrics::new())
    }

    fn fill(wait_permits: &WaitPermits, caller: &Caller) -> Vec<WaitPermit> {
        std::iter::from_fn(|| wait_permits.take(caller).ok()).collect()
    }

    #[test]
    fn three_quarters_of_the_connections_may_wait_and_half_of_those_for_one_key() {
        for (connections, all, of_key) in [(1024, 768, 384), (16, 12, 6), (2, 2, 1), (1, 1, 1)] {
            let wait_permits = wait_permits(connections);
            let first = fill(&wait_permits, &named("a"));
            let second = fill(&wait_permits, &named("b"));
            let rest = fill(&wait_permits, &named("c"));
            let of_each = [first.len(), second.len(), rest.len()];
            assert_eq!(of_each[0], of_key, "{connections}");
            assert_eq!(of_each.iter().sum::<usize>(), all, "{connections}");
        }
    }

    #[test]
    fn without_keys_all_clients_share_all_permits() {
        let wait_permits = wait_permits(1024);
        let all = fill(&wait_permits, &Caller { name: None });
        assert_eq!(all.len(), 768);
        drop(all);
        assert_eq!(fill(&wait_permits, &Caller { name: None }).len(), 768);
    }

    #[test]
    fn a_dropped_permit_is_returned_and_no_key_is_remembered_without_one() {
        let wait_permits = wait_permits(16);
        let first = fill(&wait_permits, &named("a"));
        assert!(wait_permits.take(&named("a")).is_err());
        drop(first);
        assert_eq!(fill(&wait_permits, &named("a")).len(), 6);
        let taken = wait_permits.0.taken.lock().expect("not poisoned");
        assert!(taken.all == 0 && taken.by_key.is_empty());
    }
}
