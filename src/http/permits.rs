//! Counts permits, with a limit in total and a limit for each key. Dropping a `Permit` returns it,
//! so no exit path can leak one.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[derive(Debug)]
pub struct Permits<K> {
    total_max: usize,
    per_key_max: usize,
    taken: Mutex<Taken<K>>,
}

/// Permits that were taken. A key without one is not remembered.
#[derive(Debug)]
struct Taken<K> {
    total: usize,
    by_key: HashMap<K, usize>,
}

#[derive(Debug)]
pub struct Permit<K: Eq + Hash> {
    permits: Arc<Permits<K>>,
    key: Option<K>,
}

/// Why no permit is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// All permits are taken.
    Total,
    /// The key has all that it may have.
    Key,
}

impl<K: Clone + Eq + Hash> Permits<K> {
    pub fn new(total_max: usize, per_key_max: usize) -> Arc<Self> {
        let taken = Taken {
            total: 0,
            by_key: HashMap::new(),
        };
        Arc::new(Self {
            total_max,
            per_key_max,
            taken: Mutex::new(taken),
        })
    }

    /// Returns `None` if all permits, or all of this key, are taken. Without a key only the total
    /// counts. All permits of a key share one copy of it.
    pub fn take(self: &Arc<Self>, key: Option<K>) -> Option<Permit<K>> {
        self.take_up_to(key, self.per_key_max).ok()
    }

    /// Like `take`, with another limit for this key.
    pub fn take_up_to(
        self: &Arc<Self>,
        key: Option<K>,
        per_key_max: usize,
    ) -> Result<Permit<K>, Full> {
        let mut taken = self.lock();
        if taken.total >= self.total_max {
            return Err(Full::Total);
        }
        let key = match key {
            None => None,
            Some(key) => Some(taken.count(key, per_key_max).ok_or(Full::Key)?),
        };
        taken.total += 1;
        drop(taken);
        Ok(Permit {
            permits: Arc::clone(self),
            key,
        })
    }
}

impl<K: Eq + Hash> Permits<K> {
    /// Returns how many permits `key` has now.
    pub fn taken_by<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> usize
    where
        K: Borrow<Q>,
    {
        self.lock().by_key.get(key).copied().unwrap_or(0)
    }
}

impl<K> Permits<K> {
    fn lock(&self) -> MutexGuard<'_, Taken<K>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Clone + Eq + Hash> Taken<K> {
    fn count(&mut self, key: K, per_key_max: usize) -> Option<K> {
        let (key, of_key) = match self.by_key.get_key_value(&key) {
            Some((_, &of_key)) if of_key >= per_key_max => return None,
            Some((known, &of_key)) => (known.clone(), of_key),
            None => (key, 0),
        };
        self.by_key.insert(key.clone(), of_key + 1);
        Some(key)
    }
}

impl<K: Eq + Hash> Drop for Permit<K> {
    fn drop(&mut self) {
        let mut taken = self.permits.lock();
        taken.total -= 1;
        if let Some(key) = &self.key
            && let Some(of_key) = taken.by_key.get_mut(key)
        {
            *of_key -= 1;
            if *of_key == 0 {
                taken.by_key.remove(key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(permits: &Arc<Permits<Arc<str>>>, key: Option<&str>) -> Vec<Permit<Arc<str>>> {
        std::iter::from_fn(|| permits.take(key.map(Arc::from))).collect()
    }

    #[test]
    fn permits_are_counted_in_total_and_per_key_and_come_back() {
        let permits = Permits::new(5, 2);
        let first = fill(&permits, Some("a"));
        let _second = fill(&permits, Some("b"));
        assert_eq!((first.len(), fill(&permits, None).len()), (2, 1));
        let (a, b) = (first[0].key.as_ref(), first[1].key.as_ref());
        assert!(Arc::ptr_eq(a.unwrap(), b.unwrap()), "one copy of the key");
        let without_key = fill(&permits, None);
        assert!(fill(&permits, Some("c")).is_empty(), "five in total");
        drop(first);
        assert_eq!(fill(&permits, Some("c")).len(), 2);
        drop(without_key);
    }

    #[test]
    fn no_key_is_remembered_without_a_permit() {
        let permits = Permits::new(9, 9);
        drop(fill(&permits, Some("a")));
        drop(fill(&permits, None));
        let taken = permits.lock();
        assert!(taken.total == 0 && taken.by_key.is_empty());
    }
}
