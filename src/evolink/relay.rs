//! Reads of EvoLink that apps make through this service: bounded, limited and cached.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use governor::{DefaultDirectRateLimiter, Quota};
use tokio::sync::OnceCell;
use tokio::time::Instant;

use super::client::EvolinkClient;
use super::read::Read;
use super::reply::{Answer, NoAnswer};

/// How long an answer is given again without asking EvoLink.
const FRESH: Duration = Duration::from_secs(30);

/// What the cache may hold. The oldest answers are dropped first.
const ENTRIES_MAX: usize = 64;
const BYTES_MAX: usize = 16 * 1024 * 1024;

/// Calls to EvoLink per second, for reads with our key and for those without. Callers without
/// an API key may make the latter, so the limits are separate.
const CALLS_PER_SECOND: NonZeroU32 = NonZeroU32::new(10).expect("not zero");

/// Why there is no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RelayError {
    #[error("more reads of EvoLink than this service makes in a second")]
    TooMany,
    #[error(transparent)]
    NoAnswer(#[from] NoAnswer),
}

/// Makes the reads, and keeps their answers for a while. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Relay(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    client: Arc<EvolinkClient>,
    with_key: DefaultDirectRateLimiter,
    open: DefaultDirectRateLimiter,
    cache: Mutex<HashMap<String, Entry>>,
    /// The reads under way, by their key: those who ask for the same share one call and its result.
    flights: Mutex<HashMap<String, Weak<Flight>>>,
}

/// The result of one read.
type Flight = OnceCell<Result<Answer, RelayError>>;

#[derive(Clone, Debug)]
struct Entry {
    answer: Answer,
    at: Instant,
}

impl Relay {
    pub fn new(client: Arc<EvolinkClient>) -> Self {
        let limiter = || DefaultDirectRateLimiter::direct(Quota::per_second(CALLS_PER_SECOND));
        Self(Arc::new(Inner {
            client,
            with_key: limiter(),
            open: limiter(),
            cache: Mutex::default(),
            flights: Mutex::default(),
        }))
    }

    /// Reads, or returns an answer that is at most 30 s old. An older one is given again if EvoLink
    /// says that it has not changed, or cannot be asked now. Callers that ask for the same at the
    /// same time share one call.
    ///
    /// # Errors
    /// `RelayError` if EvoLink cannot be asked or does not answer.
    pub async fn read(&self, read: Read<'_>) -> Result<Answer, RelayError> {
        let key = key_of(read);
        if let Some(entry) = self.fresh(&key) {
            return Ok(entry.answer);
        }
        let flight = self.flight(&key);
        // If the caller that makes the call leaves, another one makes it anew.
        let result = flight.get_or_init(|| self.fetch(read, key)).await;
        result.clone()
    }

    /// An answer that may be given again without asking.
    fn fresh(&self, key: &str) -> Option<Entry> {
        let known = self.cache().get(key).cloned();
        known.filter(|entry| entry.at.elapsed() < FRESH)
    }

    /// The read under way, or a new one.
    fn flight(&self, key: &str) -> Arc<Flight> {
        let flights = &self.0.flights;
        let mut flights = flights.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flight) = flights.get(key).and_then(Weak::upgrade) {
            return flight;
        }
        // So there are no more entries than callers.
        flights.retain(|_, flight| flight.strong_count() > 0);
        let flight = Arc::default();
        flights.insert(key.to_owned(), Arc::downgrade(&flight));
        flight
    }

    async fn fetch(&self, read: Read<'_>, key: String) -> Result<Answer, RelayError> {
        let known = self.cache().get(&key).cloned();
        // It may have come while this caller was about to ask.
        if let Some(entry) = known.as_ref().filter(|entry| entry.at.elapsed() < FRESH) {
            return Ok(entry.answer.clone());
        }
        let etag = known
            .as_ref()
            .and_then(|entry| entry.answer.etag.as_deref());
        let asking = async {
            self.take_turn(read.with_key)?;
            Ok::<_, RelayError>(self.0.client.read(read, etag).await?)
        };
        let answer = match (asking.await, known) {
            (Ok(answer), Some(entry)) if answer.status == 304 => entry.answer,
            (Ok(answer), _) => answer,
            // An old answer is better than none.
            (Err(_), Some(entry)) => return Ok(entry.answer),
            (Err(error), None) => return Err(error),
        };
        if answer.status == 200 {
            self.keep(key, answer.clone());
        }
        Ok(answer)
    }

    /// Reads without the cache: what is asked for changes.
    ///
    /// # Errors
    /// As `read`.
    pub async fn read_anew(&self, read: Read<'_>) -> Result<Answer, RelayError> {
        self.take_turn(read.with_key)?;
        Ok(self.0.client.read(read, None).await?)
    }

    /// Asks for the price of a request.
    ///
    /// # Errors
    /// As `read`.
    pub async fn estimate(&self, body: Bytes) -> Result<Answer, RelayError> {
        self.take_turn(true)?;
        Ok(self.0.client.estimate(body).await?)
    }

    fn take_turn(&self, with_key: bool) -> Result<(), RelayError> {
        let limiter = if with_key {
            &self.0.with_key
        } else {
            &self.0.open
        };
        limiter.check().map_err(|_| RelayError::TooMany)
    }

    fn keep(&self, key: String, answer: Answer) {
        let mut cache = self.cache();
        let at = Instant::now();
        cache.insert(key, Entry { answer, at });
        let size = |cache: &HashMap<String, Entry>| -> usize {
            cache.values().map(|entry| entry.answer.body.len()).sum()
        };
        while cache.len() > ENTRIES_MAX || size(&cache) > BYTES_MAX {
            let oldest = cache.iter().min_by_key(|(_, entry)| entry.at);
            let Some(oldest) = oldest.map(|(key, _)| key.clone()) else {
                return;
            };
            cache.remove(&oldest);
        }
    }

    fn cache(&self) -> std::sync::MutexGuard<'_, HashMap<String, Entry>> {
        self.0.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key_of(read: Read<'_>) -> String {
    let query = read.query.unwrap_or_default();
    format!("{}?{query}", read.path.join("/"))
}
