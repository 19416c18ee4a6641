//! The end of the log, as it grows: read once for all who wait for news in this process, and only while somebody does.
//!
//! Those who wait for one task are woken by news of that task alone, so that ten thousand of them cost neither a question each
//! nor a wake-up for each commit.

mod news;
mod reading;
mod ring;
mod watches;

use std::time::Duration;

use ring::Ring;
pub use ring::{Batch, Follower, Frames, Next};
use tokio::time::Instant;
use tracing::warn;
pub use watches::TaskWatch;
use watches::Watches;

use super::epochs::LogEnd;
use super::{Store, StoreError};
use crate::domain::event_id::Epoch;
use crate::domain::ids::SubmissionId;

/// The statement here that goes through events, with what its parameters are to PostgreSQL.
pub const STATEMENTS: [(&str, &str); 1] = [(news::EVENTS, "bigint, bigint")];

/// Between two tries to read.
const READ_AGAIN: Duration = Duration::from_secs(1);

/// Of the time in which there is always something new, at most a quarter is spent on reading it: callbacks come first.
const PAUSES_PER_READ: u32 = 3;
const PAUSE_MAX: Duration = Duration::from_millis(50);

/// What follows the log in this process. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Tail {
    watches: Watches,
    ring: Ring,
}

impl Tail {
    /// Registers for news of one task. No wake-up is lost to whoever registers first, then looks at the store, then waits.
    pub fn watch_task(&self, id: SubmissionId) -> TaskWatch {
        self.watches.add(id)
    }

    /// Follows the log from here on, as long as `epoch` is the current one.
    pub fn follow(&self, epoch: Epoch) -> Follower {
        self.ring.follow(epoch)
    }

    /// Tells of tasks that the recorder of this process has news of, in the log or not: a submit that was refused makes no
    /// event. What others record is read from the log, so whoever waits here for what is being submitted there must look
    /// again by itself.
    pub(super) fn tell(&self, ids: impl IntoIterator<Item = SubmissionId>) {
        self.watches.tell(ids);
    }

    /// Has everybody look.
    pub(super) fn tell_all(&self) {
        self.watches.tell_all();
    }
}

impl Store {
    pub const fn tail(&self) -> &Tail {
        &self.tail
    }

    /// Whether the log does not go on from `read`, the end that it had: the database was restored, or another took over that
    /// did not have the newest events. Their numbers are given again, to other events.
    async fn went_back_behind(&self, read: LogEnd) -> Result<bool, StoreError> {
        let end = self.log_end().await?;
        let went_back = end.newest < read.newest || end.epoch != read.epoch;
        if went_back {
            report_break(read, end.epoch);
        }
        Ok(went_back)
    }
}

/// Says that those who followed the log begin again.
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

/// How long to leave the store alone after a read that began then.
fn pause_after(began: Instant) -> Duration {
    (began.elapsed() * PAUSES_PER_READ).min(PAUSE_MAX)
}
