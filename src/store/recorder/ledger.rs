//! One batch in memory: the records that it concerns, as `load` found them and `apply` changed
//! them, and everything that `write` adds. This module does no I/O, so a batch can be simulated.

use std::collections::HashMap;

use bytes::Bytes;
use http::HeaderMap;

use super::entry::Idempotency;
use super::record::Record;
use crate::domain::callback::Subject;
use crate::domain::event::EventType;
use crate::domain::ids::{SubmissionId, TaskId};
use crate::domain::key_use::Uses;
use crate::domain::observation::Source;
use crate::domain::task::confirmation::Policy;
use crate::domain::task::{Doubted, SubmitEnd, Verdict};
use crate::domain::timestamp::Timestamp;
use crate::store::deliveries::Deliveries;
use crate::store::quarantine::{Kept, Kind, Replayable};
use crate::store::repeats::Unanswered;
use crate::store::results::Files;
use crate::store::retention::Loaded;

/// The records that a batch concerns, and everything that it adds.
pub struct Ledger {
    pub now: Timestamp,
    pub policy: Policy,
    pub records: Vec<Record>,
    pub by_submission: HashMap<SubmissionId, usize>,
    pub by_task: HashMap<TaskId, usize>,
    /// Idempotency keys in force, by name.
    pub keys: HashMap<String, (Idempotency, SubmissionId)>,
    /// The names of `keys` that this batch adds. `keys_freed`: those that it removes.
    pub keys_made: Vec<String>,
    pub keys_freed: Vec<(String, SubmissionId)>,
    /// Indexes of the records that changed.
    pub touched: Vec<usize>,
    /// Indexes of the records that have more observations than before, changed or not.
    pub counted: Vec<usize>,
    pub observations: Vec<NewObservation>,
    /// The bodies that are shown for completed tasks to which an observation may add results.
    pub published: HashMap<usize, Bytes>,
    pub events: Vec<NewEvent>,
    /// Submits that ended without an answer that names a task.
    pub submit_ends: Vec<(usize, SubmitEnd)>,
    pub quarantined: Vec<Quarantined>,
    /// Quarantine entries to be replayed, by id.
    pub replays: HashMap<i64, Replayable>,
    /// The result of writing `quarantined`.
    pub kept: Kept,
    pub doubted: Vec<NewDoubt>,
    pub deliveries: Deliveries,
    pub unanswered: Unanswered,
    /// The uses of API keys with limits.
    pub uses: Uses,
    pub files: Files,
    /// The old rows that this batch deletes.
    pub retention: Loaded,
    /// Whether the files of completed tasks are archived.
    pub archives_files: bool,
}

/// A new observation to be stored.
pub struct NewObservation {
    pub record: usize,
    pub number: u16,
    pub source: Source,
    pub verdict: Verdict,
    pub body: Bytes,
}

/// A new event to be written.
pub struct NewEvent {
    pub record: usize,
    pub event_type: EventType,
    pub source: Option<Source>,
    pub observation: Option<u16>,
}

/// A conflict to be published: an outcome that differs from the recorded one.
pub struct NewConflict {
    pub event: NewEvent,
    /// Set if EvoLink is to be polled about this outcome.
    pub doubted: Option<Doubted>,
}

/// An unconfirmed outcome.
pub struct NewDoubt {
    pub record: usize,
    pub doubted: Doubted,
}

/// A body that could not be applied.
pub struct Quarantined {
    pub subject: Subject,
    pub kind: Kind,
    pub source: Source,
    pub reason: String,
    pub task_id: Option<TaskId>,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// Published if this body was not in quarantine before.
    pub conflict: Option<NewConflict>,
}

impl Ledger {
    pub fn new(now: Timestamp, policy: impl Into<Policy>) -> Self {
        Self {
            now,
            policy: policy.into(),
            records: Vec::new(),
            by_submission: HashMap::new(),
            by_task: HashMap::new(),
            keys: HashMap::new(),
            keys_made: Vec::new(),
            keys_freed: Vec::new(),
            touched: Vec::new(),
            counted: Vec::new(),
            observations: Vec::new(),
            published: HashMap::new(),
            events: Vec::new(),
            submit_ends: Vec::new(),
            quarantined: Vec::new(),
            replays: HashMap::new(),
            kept: Kept::default(),
            doubted: Vec::new(),
            deliveries: Deliveries::default(),
            unanswered: Unanswered::default(),
            uses: Uses::new(),
            files: Files::default(),
            retention: Loaded::default(),
            archives_files: false,
        }
    }

    /// Adds a record, loaded or new. A record that is already present stays as it is.
    pub fn add(&mut self, record: Record) -> usize {
        if let Some(&index) = self.by_submission.get(&record.task.submission_id) {
            return index;
        }
        let index = self.records.len();
        self.by_submission.insert(record.task.submission_id, index);
        if let Some(task_id) = record.task.task_id() {
            self.by_task.insert(task_id.clone(), index);
        }
        self.records.push(record);
        index
    }

    pub fn of_submission(&self, id: SubmissionId) -> Option<&Record> {
        self.by_submission
            .get(&id)
            .map(|&index| &self.records[index])
    }
}
