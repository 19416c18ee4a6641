//! Reads which tasks the newest events are about, and notifies their waiters.

use sqlx::FromRow;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::reading::Reading;
use super::{READ_AGAIN, pause_after, report_break};
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

impl Store {
    /// Wakes the waiters of a task, until `stop`. While there are none, nothing is read.
    pub async fn tell_news(&self, metrics: Metrics, stop: CancellationToken) {
        if !self.is_shared() {
            // There is only one recorder, and it notifies the waiters of its own batches.
            return stop.cancelled().await;
        }
        let watches = &self.tail.watches;
        let mut reading = Reading::new(TailReader::Waits, metrics);
        // Where reading has got to in the log; `None` while there are no waiters.
        let mut cursor = None;
        let mut wake = self.wake.waiter();
        while !stop.is_cancelled() {
            if watches.is_empty() {
                cursor = None;
                reading.rests();
                stop.run_until_cancelled(watches.wanted()).await;
                continue;
            }
            let began = Instant::now();
            let read = self.read_news(&mut cursor).await;
            reading.ended(read.as_ref().copied());
            let pausing = async {
                match read {
                    Ok(is_all) => {
                        sleep(pause_after(began)).await;
                        if is_all {
                            wake.wait().await;
                        }
                    }
                    Err(_) => {
                        // The waiters query the store themselves, and get the same error.
                        watches.tell_all();
                        sleep(READ_AGAIN).await;
                    }
                }
            };
            stop.run_until_cancelled(pausing).await;
        }
    }

    /// Reads on from `cursor` and notifies waiters. Returns whether that was all there is.
    async fn read_news(&self, cursor: &mut Option<LogEnd>) -> Result<bool, StoreError> {
        let watches = &self.tail.watches;
        let Some(after) = *cursor else {
            *cursor = Some(self.log_end().await?);
            // Waiters that have registered by now may have queried before the newest event was
            // recorded.
            watches.tell_all();
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
        watches.tell(ids.filter_map(|id| id.parse::<SubmissionId>().ok()));
        Ok(rows.len() < usize::try_from(EVENTS_MAX).unwrap_or(usize::MAX))
    }
}
