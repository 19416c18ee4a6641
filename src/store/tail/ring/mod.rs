//! The newest events, for those who follow the log: read once, told in one form that all share.
//!
//! Nobody is waited for, and nothing is kept for anybody: who falls behind the ring reads pages of the log instead.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::reading::Reading;
use super::{READ_AGAIN, pause_after, report_break};
use crate::domain::event_id::Epoch;
use crate::metrics::{Metrics, TailReader};
use crate::store::epochs::LogEnd;
use crate::store::events::{EventFilter, LoggedEvent, PageSize};
use crate::store::{Store, StoreError};

/// What is read at once.
const BATCH: PageSize = PageSize {
    events: 256,
    bytes: 64 * 1024,
};

/// What the ring may hold, as counted by `Batch::cost`.
const RING_BYTES_MAX: usize = 8 * 1024 * 1024;

/// An event beside its bodies: its record, and the form in which it is told.
const EVENT_BYTES: usize = 2048;

/// What it costs to hand a batch to one follower: to wake it, to write to its socket, and to copy the bytes. Callbacks come
/// first, so ten times as long passes before the next: many who follow a busy log hear of it in larger pieces, and then later.
const HANDING_MICROS: u64 = 60;
const HANDING_NANOS_PER_BYTE: u64 = 1;
const HANDING_PAUSE_MAX: Duration = Duration::from_millis(500);

/// Reads that fail one after the other until those who follow are cut off: elsewhere the log may be read.
const FAILURES_MAX: u32 = 3;

/// Events that follow each other, and how they are told to all who follow.
#[derive(Debug)]
pub struct Batch {
    /// They are those after this number, up to that one.
    pub after: i64,
    pub upto: i64,
    pub events: Vec<LoggedEvent>,
    frames: OnceLock<Frames>,
}

/// Events as they are sent, one behind the other.
#[derive(Debug)]
pub struct Frames {
    pub bytes: Bytes,
    /// Where each of them ends.
    pub ends: Vec<usize>,
}

/// One who follows the log.
#[derive(Debug)]
pub struct Follower {
    ring: Ring,
    life: u64,
    /// In which its places are.
    epoch: Epoch,
    news: watch::Receiver<()>,
}

/// What there is after an event.
#[derive(Debug)]
pub enum Next {
    /// It holds the next one.
    Batch(Arc<Batch>),
    /// It is to be read from the log: the ring begins later.
    InLog,
    /// Nothing yet.
    Nothing,
    /// It cannot be known, for the log cannot be read, or does not hold any more what it held. Who follows is to come again.
    Broken,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Ring(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    held: Mutex<Held>,
    news: watch::Sender<()>,
    /// Somebody follows, and nobody did before.
    wanted: Notify,
}

#[derive(Debug, Default)]
struct Held {
    followers: usize,
    batches: VecDeque<Arc<Batch>>,
    cost: usize,
    /// Up to which the log was read; `None` while nobody follows.
    newest: Option<LogEnd>,
    /// How often those who followed were cut off.
    life: u64,
}

impl Batch {
    /// The events as they are sent: made by whoever is first to want them.
    pub fn frames(&self, make: impl FnOnce(&[LoggedEvent]) -> Frames) -> &Frames {
        self.frames.get_or_init(|| make(&self.events))
    }

    /// The bodies are there twice, in the form that is sent, too.
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

    /// Returns when `next_after` may say something else than before.
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

    /// Up to which it was read, and how many follow; `None` if nobody does, and then nothing is kept.
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

    /// Whoever follows is to come again, and nothing is held until then.
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
        // Nobody may have followed for a moment, and what was held is gone.
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

impl Store {
    /// Reads the log for those who follow it, until `stop`. While nobody does, nothing is read.
    pub async fn fill_ring(&self, metrics: Metrics, stop: CancellationToken) {
        let ring = &self.tail.ring;
        let mut reading = Reading::new(TailReader::Streams, metrics.clone());
        let mut wake = self.wake.waiter();
        while !stop.is_cancelled() {
            let Some((newest, followers)) = ring.position() else {
                reading.rests();
                stop.run_until_cancelled(ring.0.wanted.notified()).await;
                continue;
            };
            let began = Instant::now();
            let read = self.read_batch(newest, &metrics).await;
            let failures = reading.ended(read.as_ref().map(|(_, is_all)| *is_all));
            if failures == FAILURES_MAX {
                ring.cut();
            }
            let pausing = async {
                match read {
                    Ok((bytes, is_all)) => {
                        sleep(pause_after(began).max(handing_pause(followers, bytes))).await;
                        if is_all {
                            wake.wait().await;
                        }
                    }
                    Err(_) => sleep(READ_AGAIN).await,
                }
            };
            stop.run_until_cancelled(pausing).await;
        }
    }

    /// Reads on; the bytes that each follower is handed, and whether that was all there is.
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
            // Whatever this is, it does not follow what was read before.
            report_break(end, other.id.epoch);
            ring.cut();
            return Ok((0, false));
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
