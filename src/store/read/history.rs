//! The history of a task: every observation that is kept of it, and every event that resulted.

use std::collections::HashMap;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use sqlx::FromRow;

use crate::domain::callback::Subject;
use crate::domain::event::EventType;
use crate::domain::event::id::EventId;
use crate::domain::observation::Source;
use crate::domain::task::{SubmitEnd, Verdict};
use crate::domain::timestamp::Timestamp;
use crate::store::epochs::{epoch_of, event_id};
use crate::store::quarantine::{Kind, QuarantineEntry};
use crate::store::recorder::record::{OBSERVATIONS_PER_TASK, Origin, Record};
use crate::store::{Store, StoreError, on_pool};

/// The limit of observations and events shown for one task. Both are bounded below it.
const HISTORY_MAX: i64 = 2048;

/// One entry in the history of a task.
#[derive(Clone, Debug)]
pub struct HistoryItem {
    pub at: Timestamp,
    pub kind: HistoryKind,
}

#[derive(Clone, Debug)]
pub enum HistoryKind {
    Event {
        id: EventId,
        event_type: EventType,
        source: Option<Source>,
        body: Option<Bytes>,
    },
    Observation {
        number: i64,
        /// The position among the observations from the same source, counted from 1.
        nth: usize,
        source: Source,
        result: String,
        /// The id of the quarantine entry with the same bytes, if they are a conflict or were
        /// replayed.
        quarantine_id: Option<i64>,
        body: Bytes,
    },
    SubmitBegun,
    /// The submit ended without an answer that names a task.
    SubmitEnded(SubmitEnd),
    /// A quarantine entry that no observation refers to.
    Quarantined(QuarantineEntry),
}

const OBSERVATIONS: &str = "SELECT id, source, result, at, body FROM observation
    WHERE id >= $1 AND id < $2 ORDER BY id LIMIT $3";

// There is no ORDER BY. With one, PostgreSQL might read all events in order instead of sorting
// those of one task.
const EVENTS: &str = concat!(
    "SELECT seq, type, source, observation, at, ",
    epoch_of!("event.seq"),
    " AS event_epoch FROM event WHERE task_seq = $1 LIMIT $2"
);

const SUBMIT_END: &str = "SELECT task_seq, result, at FROM submit_end WHERE task_seq = $1";

const SUBMIT_ANSWER: &str = "SELECT body FROM observation
    WHERE id >= $1 AND id < $2 AND source = 'submit' AND result = 'recorded' ORDER BY id LIMIT 1";

/// Each statement here, with the PostgreSQL types of its parameters. An index answers all of them,
/// however many tasks there are.
pub const STATEMENTS: [(&str, &str); 4] = [
    (OBSERVATIONS, "bigint, bigint, bigint"),
    (EVENTS, "bigint, bigint"),
    (SUBMIT_END, "bigint"),
    (SUBMIT_ANSWER, "bigint, bigint"),
];

impl Store {
    /// Lists all that is kept of the history of `record`, in order.
    pub async fn list_history(&self, record: &Record) -> Result<Vec<HistoryItem>, StoreError> {
        let Some(seq) = record.seq else {
            return Ok(Vec::new());
        };
        let events = self.events_of(seq).await?;
        // Read after the events, so that the body of each event is among them.
        let observations = self.observations_of(seq).await?;
        let subject = Subject::Submission(record.task.submission_id);
        let subject = (record.origin != Origin::Standing).then_some(&subject);
        let task_id = record.task.task_id();
        let quarantined = self.list_quarantine_of_task(subject, task_id).await?;
        let mut history = self.submit_of(record, seq, &observations).await?;
        let first = history.len();
        history.extend(in_turn(observations)?);
        let rest = link(&mut history[first..], quarantined);
        history.extend(rest.into_iter().map(HistoryItem::from));
        let bodies: HashMap<i64, Bytes> = history.iter().filter_map(HistoryItem::body).collect();
        for event in events {
            history.push(event.with_body_from(&bodies)?);
        }
        history.sort_by_key(|item| item.at);
        Ok(history)
    }

    async fn events_of(&self, seq: i64) -> Result<Vec<EventRow>, StoreError> {
        let mut events: Vec<EventRow> = on_pool!(self, pool => sqlx::query_as(EVENTS)
            .bind(seq)
            .bind(HISTORY_MAX)
            .fetch_all(pool))?;
        events.sort_by_key(|event| event.seq);
        Ok(events)
    }

    async fn observations_of(&self, seq: i64) -> Result<Vec<ObservationRow>, StoreError> {
        let first = seq * OBSERVATIONS_PER_TASK;
        on_pool!(self, pool => sqlx::query_as(OBSERVATIONS)
            .bind(first)
            .bind(first + OBSERVATIONS_PER_TASK)
            .bind(HISTORY_MAX)
            .fetch_all(pool))
    }

    /// Returns how our submit began. Also how it ended, if no other item shows that.
    async fn submit_of(
        &self,
        record: &Record,
        seq: i64,
        observations: &[ObservationRow],
    ) -> Result<Vec<HistoryItem>, StoreError> {
        let mut items = Vec::new();
        if record.origin == Origin::Submit {
            items.push(HistoryItem {
                at: record.task.submitted_at,
                kind: HistoryKind::SubmitBegun,
            });
        }
        let end: Option<SubmitEndRow> = on_pool!(self, pool => sqlx::query_as(SUBMIT_END)
            .bind(seq)
            .fetch_optional(pool))?;
        // The reconciler may have ended the submit as interrupted just before its answer was
        // recorded, or just after.
        let is_answered = observations
            .iter()
            .any(|row| row.source == <&str>::from(Source::Submit));
        let end = end.filter(|end| !(is_answered && end.result == SubmitEnd::Unknown.into_str()));
        items.extend(end.map(HistoryItem::try_from).transpose()?);
        Ok(items)
    }

    /// Returns EvoLink's answer to the submit of the task number `seq`, if it is kept and was news.
    /// After a quicker callback it was not news, and the app was shown the callback's body.
    pub async fn find_submit_answer(&self, seq: i64) -> Result<Option<Bytes>, StoreError> {
        let first = seq * OBSERVATIONS_PER_TASK;
        let body: Option<Vec<u8>> = on_pool!(self, pool => sqlx::query_scalar(SUBMIT_ANSWER)
            .bind(first)
            .bind(first + OBSERVATIONS_PER_TASK)
            .fetch_optional(pool))?;
        Ok(body.map(Bytes::from))
    }
}

/// Numbers the observations among those of the same source.
fn in_turn(rows: Vec<ObservationRow>) -> Result<Vec<HistoryItem>, StoreError> {
    let mut counts: HashMap<Source, usize> = HashMap::new();
    let mut items = Vec::with_capacity(rows.len());
    for row in rows {
        let mut item = HistoryItem::try_from(row)?;
        if let HistoryKind::Observation { source, nth, .. } = &mut item.kind {
            let count = counts.entry(*source).or_default();
            *count += 1;
            *nth = *count;
        }
        items.push(item);
    }
    Ok(items)
}

/// Links conflicts and replays to their quarantine entries. Returns the entries that no observation
/// refers to.
fn link(observations: &mut [HistoryItem], entries: Vec<QuarantineEntry>) -> Vec<QuarantineEntry> {
    if entries.is_empty() {
        return entries;
    }
    let mut told = Vec::new();
    for item in observations {
        let HistoryKind::Observation {
            source,
            result,
            quarantine_id,
            body,
            ..
        } = &mut item.kind
        else {
            continue;
        };
        if *source != Source::Replay && result != Verdict::Conflict.into_str() {
            continue;
        }
        let digest = Sha256::digest(body);
        let entry = entries
            .iter()
            .find(|entry| entry.body_digest == digest.as_slice());
        *quarantine_id = entry.map(|entry| entry.id);
        // A body that could not be applied when it came stays a line of its own, even after a
        // replay.
        told.extend(
            entry
                .filter(|entry| entry.kind == Kind::Conflict)
                .map(|entry| entry.id),
        );
    }
    let rest = entries.into_iter();
    rest.filter(|entry| !told.contains(&entry.id)).collect()
}

impl From<QuarantineEntry> for HistoryItem {
    fn from(entry: QuarantineEntry) -> Self {
        Self {
            at: entry.first_at,
            kind: HistoryKind::Quarantined(entry),
        }
    }
}

impl HistoryItem {
    /// Returns an observation's number and body.
    fn body(&self) -> Option<(i64, Bytes)> {
        match &self.kind {
            HistoryKind::Observation { number, body, .. } => Some((*number, body.clone())),
            _ => None,
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
                nth: 0,
                quarantine_id: None,
                source: row.source.parse().map_err(|_| corrupt)?,
                result: row.result,
                body: row.body.into(),
            },
        })
    }
}

#[derive(FromRow)]
struct SubmitEndRow {
    task_seq: i64,
    result: String,
    at: i64,
}

impl TryFrom<SubmitEndRow> for HistoryItem {
    type Error = StoreError;

    fn try_from(row: SubmitEndRow) -> Result<Self, StoreError> {
        let corrupt = StoreError::Corrupt {
            table: "submit_end",
            id: row.task_seq,
            column: "result",
        };
        Ok(Self {
            at: Timestamp::from_millis(row.at),
            kind: HistoryKind::SubmitEnded(row.result.parse().map_err(|_| corrupt)?),
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
    event_epoch: Option<String>,
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
                id: event_id(self.event_epoch.as_deref(), self.seq)?,
                event_type: self.r#type.parse().map_err(|_| corrupt)?,
                source: self.source.and_then(|text| text.parse().ok()),
                body: body.cloned(),
            },
        })
    }
}
