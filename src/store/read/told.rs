//! Whether callbacks tell of outcomes. The answer is in the store: with several replicas, and with
//! outcomes that a poll has to confirm, no process can count it by itself.

use sqlx::FromRow;

use crate::domain::timestamp::Timestamp;
use crate::store::{Store, StoreError, on_pool};

/// The newest outcomes that EvoLink reported, when none of them was told by a callback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Untold {
    pub outcomes: usize,
    /// When the oldest of them was recorded.
    pub since: Timestamp,
}

/// Outcomes that an operator or an archive brought say nothing about callbacks.
const NEWEST: &str = "SELECT at,
        CASE WHEN type IN ('task.completed', 'task.failed', 'task.cancelled') AND source IN ('callback', 'poll')
        THEN (SELECT count(*) FROM (SELECT 1 FROM observation
            WHERE id >= event.task_seq * 1024 AND id < (event.task_seq + 1) * 1024 AND source = 'callback'
            LIMIT 1) AS counted) END AS told
    FROM event WHERE seq > $1 ORDER BY seq DESC LIMIT 200";

pub const STATEMENTS: [(&str, &str); 1] = [(NEWEST, "bigint")];

#[derive(FromRow)]
struct NewestRow {
    at: i64,
    /// `NULL` if the event is not such an outcome.
    told: Option<i64>,
}

impl Store {
    /// Returns the newest `outcomes` outcomes from before `until`, if a poll found each of them and
    /// no callback has told of any. `None` if there are fewer. Of very many other events since, the
    /// oldest are not looked at.
    pub async fn find_untold(
        &self,
        outcomes: usize,
        until: Timestamp,
    ) -> Result<Option<Untold>, StoreError> {
        let rows: Vec<NewestRow> =
            on_pool!(self, pool => sqlx::query_as(NEWEST).bind(0_i64).fetch_all(pool))?;
        let newest = rows.iter().filter(|row| row.at <= until.as_millis());
        let newest = newest.filter_map(|row| Some((row.told?, row.at)));
        let newest: Vec<(i64, i64)> = newest.take(outcomes).collect();
        let is_untold = newest.len() == outcomes && newest.iter().all(|(told, _)| *told == 0);
        let oldest = newest.last().filter(|_| is_untold);
        Ok(oldest.map(|(_, at)| Untold {
            outcomes,
            since: Timestamp::from_millis(*at),
        }))
    }
}
