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

use super::{Store, StoreError, on_pool};
use crate::domain::ids::SubmissionId;

const NEWEST: &str = "SELECT max(seq) FROM event";

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

    /// Follows the log from here on.
    pub fn follow(&self) -> Follower {
        self.ring.follow()
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

    /// The number of the newest event; 0 if there is none.
    async fn newest_event(&self) -> Result<i64, StoreError> {
        let newest: Option<i64> =
            on_pool!(self, pool => sqlx::query_scalar(NEWEST).fetch_one(pool))?;
        Ok(newest.unwrap_or(0))
    }

    /// Whether events that were read are gone: the database was restored, or another took over that did not have them. Their
    /// numbers are given again, to other events.
    async fn went_back_behind(&self, seq: i64) -> Result<bool, StoreError> {
        let newest = self.newest_event().await?;
        if newest < seq {
            warn!(
                newest,
                seq,
                "the log of events ends before event {seq}, which was read: who follows it begins anew"
            );
        }
        Ok(newest < seq)
    }
}

/// How long to leave the store alone after a read that began then.
fn pause_after(began: Instant) -> Duration {
    (began.elapsed() * PAUSES_PER_READ).min(PAUSE_MAX)
}
