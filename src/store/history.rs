//! How a task came to be what it is: every observation that is kept of it, and every event that it led to.

use bytes::Bytes;
use sqlx::FromRow;

use super::record::OBSERVATIONS_PER_TASK;
use super::{Store, StoreError, on_pool};
use crate::domain::event::EventType;
use crate::domain::observation::Source;
use crate::domain::timestamp::Timestamp;

/// Observations and events of one task that are shown at most; both are bounded below it.
const HISTORY_MAX: i64 = 2048;

/// One event, or one observation that led to none.
#[derive(Clone, Debug)]
pub struct HistoryItem {
    pub at: Timestamp,
    pub kind: HistoryKind,
}

#[derive(Clone, Debug)]
pub enum HistoryKind {
    Event {
        seq: i64,
        event_type: EventType,
        source: Option<Source>,
        body: Option<Bytes>,
    },
    Observation {
        number: i64,
        source: Source,
        result: String,
        body: Bytes,
    },
}

impl Store {
    /// All that is kept of how the task with number `seq` came to be what it is, in order.
    pub async fn list_history(&self, seq: i64) -> Result<Vec<HistoryItem>, StoreError> {
        const OBSERVATIONS: &str = "SELECT id, source, result, at, body FROM observation
            WHERE id >= $1 AND id < $2 ORDER BY id LIMIT $3";
        const EVENTS: &str = "SELECT seq, type, source, at,
                (SELECT body FROM observation WHERE id = event.task_seq * 1024 + event.observation) AS body
            FROM event WHERE task_seq = $1 ORDER BY seq LIMIT $2";
        let first = seq * OBSERVATIONS_PER_TASK;
        let observations: Vec<ObservationRow> = on_pool!(self, pool => sqlx::query_as(OBSERVATIONS)
            .bind(first)
            .bind(first + OBSERVATIONS_PER_TASK)
            .bind(HISTORY_MAX)
            .fetch_all(pool))?;
        let events: Vec<EventRow> = on_pool!(self, pool => sqlx::query_as(EVENTS)
            .bind(seq)
            .bind(HISTORY_MAX)
            .fetch_all(pool))?;
        let observations = observations.into_iter().map(HistoryItem::try_from);
        let events = events.into_iter().map(HistoryItem::try_from);
        let mut history: Vec<HistoryItem> = observations.chain(events).collect::<Result<_, _>>()?;
        history.sort_by_key(|item| item.at);
        Ok(history)
    }

    /// EvoLink's answer to the submit of the task with number `seq`, if it is kept and was news: after a quicker callback
    /// it was not, and the app was shown what that one had told.
    pub async fn find_submit_answer(&self, seq: i64) -> Result<Option<Bytes>, StoreError> {
        const SQL: &str = "SELECT body FROM observation
            WHERE id >= $1 AND id < $2 AND source = 'submit' AND result = 'recorded' ORDER BY id LIMIT 1";
        let first = seq * OBSERVATIONS_PER_TASK;
        let body: Option<Vec<u8>> = on_pool!(self, pool => sqlx::query_scalar(SQL)
            .bind(first)
            .bind(first + OBSERVATIONS_PER_TASK)
            .fetch_optional(pool))?;
        Ok(body.map(Bytes::from))
    }
}

#[derive(FromRow)]
struct ObservationRow {
    id: i64,
    source: String,
    result: String,
    at: i64,
    body: Vec<u8>,
}

impl TryFrom<ObservationRow> for HistoryItem {
    type Error = StoreError;

    fn try_from(row: ObservationRow) -> Result<Self, StoreError> {
        let corrupt = StoreError::Corrupt {
            table: "observation",
            id: row.id,
            column: "source",
        };
        Ok(Self {
            at: Timestamp::from_millis(row.at),
            kind: HistoryKind::Observation {
                number: row.id % OBSERVATIONS_PER_TASK,
                source: Source::parse(&row.source).ok_or(corrupt)?,
                result: row.result,
                body: row.body.into(),
            },
        })
    }
}

#[derive(FromRow)]
struct EventRow {
    seq: i64,
    r#type: String,
    source: Option<String>,
    at: i64,
    body: Option<Vec<u8>>,
}

impl TryFrom<EventRow> for HistoryItem {
    type Error = StoreError;

    fn try_from(row: EventRow) -> Result<Self, StoreError> {
        let corrupt = StoreError::Corrupt {
            table: "event",
            id: row.seq,
            column: "type",
        };
        Ok(Self {
            at: Timestamp::from_millis(row.at),
            kind: HistoryKind::Event {
                seq: row.seq,
                event_type: EventType::parse(&row.r#type).ok_or(corrupt)?,
                source: row.source.as_deref().and_then(Source::parse),
                body: row.body.map(Bytes::from),
            },
        })
    }
}
