//! How a task came to be what it is: every observation that is kept of it, and every event that it led to.

use std::collections::HashMap;

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

const OBSERVATIONS: &str = "SELECT id, source, result, at, body FROM observation
    WHERE id >= $1 AND id < $2 ORDER BY id LIMIT $3";

// Without an order: PostgreSQL might find it cheaper to go through all events in theirs than to sort those of one task.
const EVENTS: &str = "SELECT seq, type, source, observation, at FROM event
    WHERE task_seq = $1 LIMIT $2";

const SUBMIT_ANSWER: &str = "SELECT body FROM observation
    WHERE id >= $1 AND id < $2 AND source = 'submit' AND result = 'recorded' ORDER BY id LIMIT 1";

/// Each statement here, with what its parameters are to PostgreSQL: all are answered from an index, however many tasks there are.
pub const STATEMENTS: [(&str, &str); 3] = [
    (OBSERVATIONS, "bigint, bigint, bigint"),
    (EVENTS, "bigint, bigint"),
    (SUBMIT_ANSWER, "bigint, bigint"),
];

impl Store {
    /// All that is kept of how the task with number `seq` came to be what it is, in order.
    pub async fn list_history(&self, seq: i64) -> Result<Vec<HistoryItem>, StoreError> {
        let first = seq * OBSERVATIONS_PER_TASK;
        let mut events: Vec<EventRow> = on_pool!(self, pool => sqlx::query_as(EVENTS)
            .bind(seq)
            .bind(HISTORY_MAX)
            .fetch_all(pool))?;
        events.sort_by_key(|event| event.seq);
        // After the events, so that each finds the body that it tells of.
        let observations: Vec<ObservationRow> = on_pool!(self, pool => sqlx::query_as(OBSERVATIONS)
            .bind(first)
            .bind(first + OBSERVATIONS_PER_TASK)
            .bind(HISTORY_MAX)
            .fetch_all(pool))?;
        let mut history = observations
            .into_iter()
            .map(HistoryItem::try_from)
            .collect::<Result<Vec<_>, _>>()?;
        let bodies: HashMap<i64, Bytes> = history.iter().filter_map(HistoryItem::body).collect();
        for event in events {
            history.push(event.with_body_from(&bodies)?);
        }
        history.sort_by_key(|item| item.at);
        Ok(history)
    }

    /// EvoLink's answer to the submit of the task with number `seq`, if it is kept and was news: after a quicker callback
    /// it was not, and the app was shown what that one had told.
    pub async fn find_submit_answer(&self, seq: i64) -> Result<Option<Bytes>, StoreError> {
        let first = seq * OBSERVATIONS_PER_TASK;
        let body: Option<Vec<u8>> = on_pool!(self, pool => sqlx::query_scalar(SUBMIT_ANSWER)
            .bind(first)
            .bind(first + OBSERVATIONS_PER_TASK)
            .fetch_optional(pool))?;
        Ok(body.map(Bytes::from))
    }
}

impl HistoryItem {
    /// An observation's number and body.
    fn body(&self) -> Option<(i64, Bytes)> {
        match &self.kind {
            HistoryKind::Observation { number, body, .. } => Some((*number, body.clone())),
            HistoryKind::Event { .. } => None,
        }
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
    observation: Option<i64>,
    at: i64,
}

impl EventRow {
    fn with_body_from(self, bodies: &HashMap<i64, Bytes>) -> Result<HistoryItem, StoreError> {
        let corrupt = StoreError::Corrupt {
            table: "event",
            id: self.seq,
            column: "type",
        };
        let body = self.observation.and_then(|number| bodies.get(&number));
        Ok(HistoryItem {
            at: Timestamp::from_millis(self.at),
            kind: HistoryKind::Event {
                seq: self.seq,
                event_type: EventType::parse(&self.r#type).ok_or(corrupt)?,
                source: self.source.as_deref().and_then(Source::parse),
                body: body.cloned(),
            },
        })
    }
}
