//! Permits to wait. Waiting queries and event streams hold a connection for a long time. So
//! together they may hold only a part of all connections, and each API key only a part of that.

use std::sync::Arc;

use super::Caller;
use crate::http::internal::error::ApiError;
use crate::http::permits::{Full, Permit, Permits};
use crate::observe::metrics::Metrics;
use crate::turns::{self, Turns};

/// Maximum number of waiters that query the store at once. All waiters of a task are notified
/// together, and waits that began together end together. The excess queues here and not for the few
/// connections of the store, where it would delay every other request.
const QUERIES_AT_ONCE: usize = 4;

/// All permits of the internal listener. Cheap to clone.
#[derive(Clone, Debug)]
pub struct WaitPermits(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// Counted by the names of API keys.
    permits: Arc<Permits<Arc<str>>>,
    queries: Turns,
    per_key_max: usize,
    metrics: Metrics,
}

/// A permit for one waiting query or event stream.
#[derive(Debug)]
pub struct WaitPermit {
    shared: Arc<Shared>,
    _permit: Permit<Arc<str>>,
}

impl WaitPermits {
    /// Keeps a quarter of `connections_max` free for requests that do not wait.
    pub fn new(connections_max: usize, metrics: Metrics) -> Self {
        let permits_max = (connections_max - connections_max / 4).max(1);
        let per_key_max = (permits_max / 2).max(1);
        Self(Arc::new(Shared {
            permits: Permits::new(permits_max, per_key_max),
            queries: Turns::new(QUERIES_AT_ONCE),
            per_key_max,
            metrics,
        }))
    }

    /// Without configured API keys, all clients count as one caller and share all permits.
    ///
    /// # Errors
    /// 503 `too_many_waiting` if all permits, or all that one key may have, are taken. 429 if the
    /// caller has as many as its `max_waiting`.
    pub fn take(&self, caller: &Caller) -> Result<WaitPermit, ApiError> {
        let shared = &self.0;
        let of_key = caller.max_waiting.filter(|most| *most < shared.per_key_max);
        let most = of_key.unwrap_or(shared.per_key_max);
        let permit = match shared.permits.take_up_to(caller.name.clone(), most) {
            Ok(permit) => permit,
            Err(full) => {
                shared.metrics.seat_refused();
                return Err(match (full, of_key) {
                    (Full::Key, Some(most)) => ApiError::too_many_waiting_of_key(most),
                    (Full::Key | Full::Total, _) => ApiError::too_many_waiting(),
                });
            }
        };
        shared.metrics.seat_taken();
        Ok(WaitPermit {
            shared: Arc::clone(shared),
            _permit: permit,
        })
    }
}

impl WaitPermits {
    /// Returns how many permits the API key has now.
    pub fn taken_by(&self, key: &str) -> usize {
        self.0.permits.taken_by(key)
    }
}

impl WaitPermit {
    /// Runs a query of the store. At most `QUERIES_AT_ONCE` waiters do so at a time.
    pub async fn query<T>(&self, query: impl Future<Output = T>) -> T {
        let _turn = self.shared.queries.take(&turns::current_key()).await;
        query.await
    }
}

impl Drop for WaitPermit {
    fn drop(&mut self) {
        self.shared.metrics.seat_given_back();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> Caller {
        Caller {
            name: Some(name.into()),
            ..Caller::local()
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
        let all = fill(&wait_permits, &Caller::local());
        assert_eq!(all.len(), 768);
        drop(all);
        assert_eq!(fill(&wait_permits, &Caller::local()).len(), 768);
    }

    #[test]
    fn a_key_has_at_most_its_own_limit() {
        let wait_permits = wait_permits(1024);
        let limited = |max_waiting| Caller {
            max_waiting: Some(max_waiting),
            ..named("a")
        };
        let of_a = fill(&wait_permits, &limited(3));
        let refused = wait_permits.take(&limited(3)).unwrap_err();
        assert_eq!((of_a.len(), refused.status().as_u16()), (3, 429));
        assert!(wait_permits.take(&named("b")).is_ok());
        drop(of_a);
        assert_eq!(fill(&wait_permits, &limited(9999)).len(), 384);
    }

    #[test]
    fn a_dropped_permit_is_returned() {
        let wait_permits = wait_permits(16);
        let first = fill(&wait_permits, &named("a"));
        assert!(wait_permits.take(&named("a")).is_err());
        drop(first);
        assert_eq!(fill(&wait_permits, &named("a")).len(), 6);
    }
}
