//! Reads which tasks the newest events are about, and notifies their waiters.

use std::sync::Arc;

use sqlx::FromRow;
use tokio::time::Instant;

use super::behind::Behind;
use super::{LogReader, Read, pause_after, report_break};
use crate::domain::ids::SubmissionId;
use crate::observe::metrics::{Metrics, TailReader};
use crate::store::epochs::{LogEnd, epoch_of, event_id};
use crate::store::{Store, StoreError, on_pool};

/// The limit of events in one read.
const EVENTS_MAX: i64 = 1024;

pub(super) const EVENTS: &str = concat!(
    "SELECT event.seq, submission_id, ",
    epoch_of!("event.seq"),
    " AS event_epoch FROM event LEFT JOIN task ON task.seq = event.task_seq
    WHERE event.seq > $1 ORDER BY event.seq LIMIT $2"
);

#[derive(FromRow)]
struct NewsRow {
    seq: i64,
    submission_id: Option<String>,
    event_epoch: Option<String>,
}

/// Reads the log on, and wakes the waiters of a task. While there are none, nothing is read.
#[derive(Debug)]
pub struct NewsReader {
    store: Arc<Store>,
    behind: Behind,
    /// Where reading has got to in the log; `None` while there are no waiters.
    cursor: Option<LogEnd>,
}

impl NewsReader {
    pub fn new(store: Arc<Store>, metrics: Metrics) -> Self {
        Self {
            store,
            behind: Behind::new(TailReader::Waits, metrics),
            cursor: None,
        }
    }
}

impl LogReader for NewsReader {
    const WORK: &'static str = "reading the log of events for waiting queries";

    async fn read(&mut self) -> Result<Read, StoreError> {
        let watches = &self.store.tail.watches;
        if watches.is_empty() {
            self.cursor = None;
            self.behind.is_at_end();
            return Ok(Read::Unwanted);
        }
        let began = Instant::now();
        let read = self.store.read_news(&mut self.cursor).await;
        self.behind.has_read(read.as_ref().copied());
        if read.is_err() {
            // The waiters query the store themselves, and get the same error.
            watches.notify_all();
        }
        let pause = pause_after(began);
        Ok(if read? {
            Read::All(pause)
        } else {
            Read::Part(pause)
        })
    }

    async fn wanted(&self) {
        self.store.tail.watches.wanted().await;
    }
}

impl Store {
    /// Reads on from `cursor` and notifies waiters. Returns whether that was all there is.
    async fn read_news(&self, cursor: &mut Option<LogEnd>) -> Result<bool, StoreError> {
        let watches = &self.tail.watches;
        let Some(after) = *cursor else {
            *cursor = Some(self.log_end().await?);
            // Waiters that have registered by now may have queried before the newest event was
            // recorded.
            watches.notify_all();
            return Ok(false);
        };
        let rows: Vec<NewsRow> = on_pool!(self, pool => sqlx::query_as(EVENTS)
            .bind(after.newest)
            .bind(EVENTS_MAX)
            .fetch_all(pool))?;
        let Some(last) = rows.last() else {
            if self.went_back_behind(after).await? {
                *cursor = None;
            }
            return Ok(cursor.is_some());
        };
        let last = event_id(last.event_epoch.as_deref(), last.seq)?;
        if last.epoch != after.epoch {
            report_break(after, last.epoch);
            *cursor = None;
            return Ok(false);
        }
        *cursor = Some(LogEnd {
            newest: last.seq,
            epoch: last.epoch,
        });
        let ids = rows.iter().filter_map(|row| row.submission_id.as_deref());
        watches.notify(ids.filter_map(|id| id.parse::<SubmissionId>().ok()));
        Ok(rows.len() < usize::try_from(EVENTS_MAX).unwrap_or(usize::MAX))
    }
}
