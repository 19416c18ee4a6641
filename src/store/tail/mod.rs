//! The end of the event log. It is read once for all waiters and subscribers of this process, and
//! only while there are any.
//!
//! A waiter for one task is woken only by news of that task. So ten thousand waiters cost neither a
//! query each nor a wake-up for each commit.

mod behind;
mod news;
mod ring;
mod watches;

use std::time::Duration;

pub use news::NewsReader;
use ring::Ring;
pub use ring::{Batch, Follower, Frames, Next, RingReader};
use tokio::time::Instant;
use tracing::warn;
pub use watches::TaskWatch;
use watches::Watches;

use super::epochs::LogEnd;
use super::{Store, StoreError};
use crate::domain::event::id::Epoch;
use crate::domain::ids::SubmissionId;

/// The statement here that reads events, with the PostgreSQL types of its parameters.
pub const STATEMENTS: [(&str, &str); 1] = [(news::EVENTS, "bigint, bigint")];

/// The pause after a read, as a multiple of its duration. Under constant load, reading takes a
/// quarter of the time, because callbacks come first. The pause is capped, so reads that take
/// longer than 17 ms get a larger part.
const PAUSES_PER_READ: u32 = 3;
const PAUSE_MAX: Duration = Duration::from_millis(50);

/// The result of one read of the log, with the pause that should follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// Nobody needs the log, so nothing was read.
    Unwanted,
    /// There is more to read.
    Part(Duration),
    /// That was all there is.
    All(Duration),
}

/// A reader of the log, for those in this process who need it.
pub trait LogReader {
    /// The work as a noun phrase, for the log.
    const WORK: &'static str;

    /// Reads on, if anybody needs that.
    fn read(&mut self) -> impl Future<Output = Result<Read, StoreError>> + Send;

    /// Waits until a waiter or a subscriber needs the log.
    fn wanted(&self) -> impl Future<Output = ()> + Send;
}

/// The waiters and subscribers of this process. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Tail {
    watches: Watches,
    ring: Ring,
}

impl Tail {
    /// Registers for news of one task. Register, then query the store, then wait: then no wake-up
    /// is missed.
    pub fn watch_task(&self, id: SubmissionId) -> TaskWatch {
        self.watches.add(id)
    }

    /// Follows the log from here on, as long as `epoch` is the current one.
    pub fn follow(&self, epoch: Epoch) -> Follower {
        self.ring.follow(epoch)
    }

    /// Notifies the waiters of tasks for which this process's recorder has news. That includes news
    /// without an event, such as a refused submit. News from other processes is read from the log.
    /// So a waiter for a submit made in another process must poll the store.
    pub(super) fn notify(&self, ids: impl IntoIterator<Item = SubmissionId>) {
        self.watches.notify(ids);
    }

    /// Wakes all waiters, so that they query the store.
    pub(super) fn notify_all(&self) {
        self.watches.notify_all();
    }
}

impl Store {
    pub const fn tail(&self) -> &Tail {
        &self.tail
    }

    /// Returns whether the log no longer continues from `read`, the end that it had. That happens
    /// if the database was restored, or if a server without the newest events took over. Their
    /// numbers are then assigned to other events.
    async fn went_back_behind(&self, read: LogEnd) -> Result<bool, StoreError> {
        let end = self.log_end().await?;
        let went_back = end.newest < read.newest || end.epoch != read.epoch;
        if went_back {
            report_break(read, end.epoch);
        }
        Ok(went_back)
    }
}

/// Logs that subscribers must start again.
fn report_break(read: LogEnd, epoch: Epoch) {
    let LogEnd {
        newest: seq,
        epoch: before,
    } = read;
    warn!(
        seq, %epoch,
        "the log of events does not go on from {before}-{seq}, which was read; its epoch is {epoch}: streams are cut off, \
        and their readers resume from where they were"
    );
}

/// Returns how long to pause after a read that began at `began`.
fn pause_after(began: Instant) -> Duration {
    (began.elapsed() * PAUSES_PER_READ).min(PAUSE_MAX)
}
