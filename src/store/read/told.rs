//! Whether callbacks tell of outcomes. The answer is in the store: with several replicas, and with
//! outcomes that a poll has to confirm, no process can count it by itself.

use sqlx::FromRow;

use crate::domain::timestamp::Timestamp;
use crate::store::{Store, StoreError, on_pool};

/// The newest outcomes that EvoLink reported, when none of them was told by a callback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Untold {
    pub outcomes: u32,
    /// When the oldest of them was recorded.
    pub since: Timestamp,
}

/// What the newest outcomes say about callbacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// There are too few outcomes to say.
    TooFew,
    /// A callback reported one of them.
    Reported,
    Untold(Untold),
}

// Outcomes that an operator or an archive brought say nothing about callbacks. Of very many events,
// the oldest are not examined.
const NEWEST: &str = "SELECT at, (SELECT count(*) FROM (SELECT 1 FROM observation
            WHERE id >= event.task_seq * 1024 AND id < (event.task_seq + 1) * 1024 AND source = 'callback'
            LIMIT 1) AS counted) AS told
    FROM event WHERE seq > (SELECT max(seq) FROM event) - 20000 AND at <= $1
        AND type IN ('task.completed', 'task.failed', 'task.cancelled') AND source IN ('callback', 'poll')
    ORDER BY seq DESC LIMIT $2";

pub const STATEMENTS: [(&str, &str); 1] = [(NEWEST, "bigint, bigint")];

#[derive(FromRow)]
struct NewestRow {
    at: i64,
    told: i64,
}

impl Store {
    /// Returns whether a callback has reported any of the newest `outcomes` outcomes from before
    /// `until`.
    pub async fn find_untold(
        &self,
        outcomes: u32,
        until: Timestamp,
    ) -> Result<Finding, StoreError> {
        let newest: Vec<NewestRow> = on_pool!(self, pool => sqlx::query_as(NEWEST)
            .bind(until.as_millis())
            .bind(i64::from(outcomes))
            .fetch_all(pool))?;
        if newest.iter().any(|row| row.told > 0) {
            return Ok(Finding::Reported);
        }
        Ok(match newest.last() {
            Some(oldest) if newest.len() == outcomes as usize => Finding::Untold(Untold {
                outcomes,
                since: Timestamp::from_millis(oldest.at),
            }),
            Some(_) | None => Finding::TooFew,
        })
    }
}
