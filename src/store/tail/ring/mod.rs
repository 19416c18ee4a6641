//! The newest events, for subscribers of the log. They are read once and serialized once for all.
//!
//! The ring waits for no subscriber and keeps nothing for one. A subscriber that falls behind reads
//! pages of the log instead.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::behind::Behind;
use super::{LogReader, Read, pause_after, report_break};
use crate::domain::event::id::Epoch;
use crate::observe::metrics::{Metrics, TailReader};
use crate::store::epochs::LogEnd;
use crate::store::read::events::{EventFilter, LoggedEvent, PageSize};
use crate::store::{Store, StoreError};

/// The size of one read.
const BATCH: PageSize = PageSize {
    events: 256,
    bytes: 64 * 1024,
};

/// The memory limit of the ring, as counted by `Batch::cost`.
const RING_BYTES_MAX: usize = 8 * 1024 * 1024;

/// The estimated size of an event without its bodies: its record and its serialized form.
const EVENT_BYTES: usize = 2048;

/// The pause after a batch, for each subscriber and for each byte that it is sent. It is ten times
/// the cost of delivering the batch: to wake the subscriber, to write to its socket, and to copy
/// the bytes. Callbacks come first. Many subscribers of a busy log thus receive larger batches,
/// later.
const HANDING_MICROS: u64 = 60;
const HANDING_NANOS_PER_BYTE: u64 = 1;
const HANDING_PAUSE_MAX: Duration = Duration::from_millis(500);

/// Consecutive failed reads before the subscribers are disconnected. Another replica may be able to
/// read the log.
const FAILURES_MAX: u32 = 3;

/// Consecutive events, with the serialized form that all subscribers share.
#[derive(Debug)]
pub struct Batch {
    /// The batch has the events with numbers above `after`, up to `upto`.
    pub after: i64,
    pub upto: i64,
    pub events: Vec<LoggedEvent>,
    frames: OnceLock<Frames>,
}

/// Serialized events, one after the other.
#[derive(Debug)]
pub struct Frames {
    pub bytes: Bytes,
    /// The offset at which each event ends.
    pub ends: Vec<usize>,
}

/// A subscriber of the log.
#[derive(Debug)]
pub struct Follower {
    ring: Ring,
    life: u64,
    /// The epoch of the positions that it passes.
    epoch: Epoch,
    news: watch::Receiver<()>,
}

/// The result of asking for the events after a number.
#[derive(Debug)]
pub enum Next {
    /// A batch that contains the next event.
    Batch(Arc<Batch>),
    /// The next event must be read from the log, because the ring begins later.
    InLog,
    /// There is no newer event yet.
    Nothing,
    /// The next event is unknown, because the log cannot be read or has lost events. The subscriber
    /// must reconnect.
    Broken,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Ring(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    held: Mutex<Held>,
    news: watch::Sender<()>,
    /// Signals the first subscriber after there were none.
    wanted: Notify,
}

#[derive(Debug, Default)]
struct Held {
    followers: usize,
    batches: VecDeque<Arc<Batch>>,
    cost: usize,
    /// Where reading has got to in the log; `None` while there are no subscribers.
    newest: Option<LogEnd>,
    /// How often the subscribers were disconnected.
    life: u64,
}

impl Batch {
    /// Returns the serialized events. The first caller makes them.
    pub fn frames(&self, make: impl FnOnce(&[LoggedEvent]) -> Frames) -> &Frames {
        self.frames.get_or_init(|| make(&self.events))
    }

    /// Returns the estimated memory size. The bodies count twice, because the serialized form
    /// contains them too.
    fn cost(&self) -> usize {
        let bytes: usize = self.events.iter().map(LoggedEvent::bytes).sum();
        2 * bytes + self.events.len() * EVENT_BYTES
    }
}

impl Follower {
    pub fn next_after(&self, seq: i64) -> Next {
        let held = self.ring.lock();
        if held.life != self.life {
            return Next::Broken;
        }
        let Some(newest) = held.newest else {
            return Next::Nothing;
        };
        if newest.epoch != self.epoch {
            return Next::Broken;
        }
        if seq >= newest.newest {
            return Next::Nothing;
        }
        let at = held.batches.partition_point(|batch| batch.upto <= seq);
        match held.batches.get(at) {
            Some(batch) if batch.after <= seq => Next::Batch(Arc::clone(batch)),
            _ => Next::InLog,
        }
    }

    /// Waits until `next_after` may return another result than before.
    pub async fn news(&mut self) {
        // The sender lives as long as the ring.
        let _ = self.news.changed().await;
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.ring.lock().followers -= 1;
    }
}

impl Ring {
    pub(super) fn follow(&self, epoch: Epoch) -> Follower {
        let mut held = self.lock();
        held.followers += 1;
        let (is_first, life) = (held.followers == 1, held.life);
        drop(held);
        if is_first {
            self.0.wanted.notify_one();
        }
        Follower {
            ring: self.clone(),
            life,
            epoch,
            news: self.0.news.subscribe(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns where reading has got to, and the number of subscribers. `None` if there are none;
    /// then all events are discarded.
    fn position(&self) -> Option<(Option<LogEnd>, usize)> {
        let mut held = self.lock();
        if held.followers == 0 {
            *held = Held::default();
            return None;
        }
        Some((held.newest, held.followers))
    }

    fn begin_at(&self, newest: LogEnd) {
        self.lock().newest = Some(newest);
        self.0.news.send_replace(());
    }

    /// Disconnects all subscribers and discards all events.
    fn cut(&self) {
        let mut held = self.lock();
        *held = Held {
            followers: held.followers,
            life: held.life + 1,
            ..Held::default()
        };
        drop(held);
        self.0.news.send_replace(());
    }

    fn add(&self, batch: Batch) {
        let mut held = self.lock();
        // All subscribers may have left for a moment, and the events were discarded.
        let Some(newest) = &mut held.newest else {
            return;
        };
        if newest.newest != batch.after {
            return;
        }
        newest.newest = batch.upto;
        held.cost += batch.cost();
        held.batches.push_back(Arc::new(batch));
        while held.cost > RING_BYTES_MAX && held.batches.len() > 1 {
            if let Some(oldest) = held.batches.pop_front() {
                held.cost -= oldest.cost();
            }
        }
        drop(held);
        self.0.news.send_replace(());
    }
}

/// Reads the log on for the subscribers. While there are none, nothing is read.
#[derive(Debug)]
pub struct RingReader {
    store: Arc<Store>,
    metrics: Metrics,
    behind: Behind,
    /// The number of consecutive failures.
    failures: u32,
}

impl RingReader {
    pub fn new(store: Arc<Store>, metrics: Metrics) -> Self {
        Self {
            store,
            behind: Behind::new(TailReader::Streams, metrics.clone()),
            metrics,
            failures: 0,
        }
    }
}

impl LogReader for RingReader {
    const WORK: &'static str = "reading the log of events for streams";

    async fn read(&mut self) -> Result<Read, StoreError> {
        let ring = &self.store.tail.ring;
        let Some((newest, followers)) = ring.position() else {
            self.failures = 0;
            self.behind.is_at_end();
            return Ok(Read::Unwanted);
        };
        let began = Instant::now();
        let read = self.store.read_batch(newest, &self.metrics).await;
        self.behind
            .has_read(read.as_ref().map(|(_, is_all)| *is_all));
        self.failures = if read.is_err() { self.failures + 1 } else { 0 };
        if self.failures == FAILURES_MAX {
            ring.cut();
        }
        let (bytes, is_all) = read?;
        let pause = pause_after(began).max(handing_pause(followers, bytes));
        Ok(if is_all {
            Read::All(pause)
        } else {
            Read::Part(pause)
        })
    }

    async fn wanted(&self) {
        self.store.tail.ring.0.wanted.notified().await;
    }
}

impl Store {
    /// Reads on. Returns the bytes that each subscriber is sent, and whether that was all there is.
    async fn read_batch(
        &self,
        newest: Option<LogEnd>,
        metrics: &Metrics,
    ) -> Result<(usize, bool), StoreError> {
        let ring = &self.tail.ring;
        let Some(end) = newest else {
            ring.begin_at(self.log_end().await?);
            return Ok((0, false));
        };
        let (all, after) = (EventFilter::default(), end.newest);
        let read = self.read_events(after, i64::MAX, &all, BATCH).await?;
        if read.upto == after {
            let went_back = self.went_back_behind(end).await?;
            if went_back {
                ring.cut();
            }
            return Ok((0, !went_back));
        }
        if let Some(other) = read.events.iter().find(|event| event.id.epoch != end.epoch) {
            // An event of another epoch does not follow what was read before.
            report_break(end, other.id.epoch);
            ring.cut();
            return Ok((0, false));
        }
        // Too slow to see events before they were deleted. The subscribers resume from where they
        // were, and learn it there.
        let first = read.events.first().map(|event| event.id.seq);
        if first != Some(after + 1)
            && let Err(error) = self.check_kept(after).await
        {
            ring.cut();
            return Err(error);
        }
        metrics.events_unreadable(read.unreadable);
        let batch = Batch {
            after,
            upto: read.upto,
            events: read.events,
            frames: OnceLock::new(),
        };
        let bytes = batch.cost() / 2;
        ring.add(batch);
        Ok((bytes, !read.is_cut))
    }
}

fn handing_pause(followers: usize, bytes: usize) -> Duration {
    if bytes == 0 {
        return Duration::ZERO;
    }
    let per_byte =
        Duration::from_nanos(HANDING_NANOS_PER_BYTE) * u32::try_from(bytes).unwrap_or(u32::MAX);
    let each = Duration::from_micros(HANDING_MICROS) + per_byte;
    let all = each * u32::try_from(followers).unwrap_or(u32::MAX);
    all.min(HANDING_PAUSE_MAX)
}

#[cfg(test)]
mod tests;
