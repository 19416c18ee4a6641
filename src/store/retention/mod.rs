//! Deletes what was kept for long enough. The janitor finds old rows with the queries here. The
//! recorder deletes them, a small batch in one transaction, after it has checked them again.
//!
//! Events are only deleted from the old end of the log, so the oldest one that is kept says what a
//! reader may have missed. A task is deleted after its events. The newest event and the newest task
//! stay, because the next ones are numbered after them.

mod deletable;
mod find;
mod load;
mod write;

use std::time::Duration;

pub use find::{Found, JanitorState, STATEMENTS};
pub(super) use load::{Loaded, load};
pub(super) use write::write;

use crate::domain::delivery::Holder;
use crate::domain::timestamp::Timestamp;

/// How long a process may delete alone after its last batch. It covers the pauses between batches.
pub const LEASE: Duration = Duration::from_mins(2);

/// A time that is further ahead than this was recorded by a clock that was wrong. It says nothing
/// about an age.
const AHEAD_MAX: Duration = Duration::from_hours(24);

/// The rows of each kind that one transaction deletes at most. More would keep callbacks waiting.
pub const BATCH_ROWS: i64 = 256;

/// The bodies, in bytes, that one transaction deletes. SQLite visits each page of a large body. Only
/// the last row may exceed it.
const BATCH_BYTES: i64 = 4 * 1024 * 1024;

/// For how long after its retention a body or a delivery waits for its turn. Both are visited in
/// the order in which their tasks and events were recorded, and once. Most are over by then. What
/// is not is deleted with its task or its event.
pub const SLACK: Duration = Duration::from_hours(24);

/// How long each kind of row is kept.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    pub tasks: Duration,
    pub events: Duration,
    pub observations: Duration,
    pub quarantine: Duration,
    pub delivered: Duration,
    pub dead: Duration,
    pub results: Duration,
    pub idempotency_keys: Duration,
}

/// The times before which rows of each kind are old.
#[derive(Clone, Copy, Debug)]
pub struct Cutoffs {
    pub tasks: Timestamp,
    pub events: Timestamp,
    pub observations: Timestamp,
    pub quarantine: Timestamp,
    pub delivered: Timestamp,
    pub dead: Timestamp,
    pub results: Timestamp,
    pub idempotency_keys: Timestamp,
    /// Later times say nothing about an age.
    pub ahead: Timestamp,
}

impl Retention {
    pub fn cutoffs(&self, now: Timestamp) -> Cutoffs {
        Cutoffs {
            tasks: now.before(self.tasks),
            events: now.before(self.events),
            observations: now.before(self.observations),
            quarantine: now.before(self.quarantine),
            delivered: now.before(self.delivered),
            dead: now.before(self.dead),
            results: now.before(self.results),
            idempotency_keys: now.before(self.idempotency_keys),
            ahead: now.after(AHEAD_MAX),
        }
    }
}

/// A request to delete rows, by a process that has the janitor's lease or can take it.
#[derive(Clone, Debug)]
pub struct Deletion {
    pub holder: Holder,
    pub cutoffs: Cutoffs,
    pub rows: OldRows,
}

/// The rows to delete. Each is checked again in the transaction that deletes it.
#[derive(Clone, Debug)]
pub enum OldRows {
    /// None: only takes the lease.
    None,
    /// The events up to this one, with their deliveries. `exported`: the tasks of these events whose
    /// export is on the disk.
    Events { upto: i64, exported: Vec<Exported> },
    /// These tasks, with their observations and result files.
    Tasks { seqs: Vec<i64> },
    /// The bodies of these tasks' observations. `upto` is the last task that was examined.
    Bodies { seqs: Vec<i64>, upto: i64 },
    /// These deliveries. `upto` is the last one that was examined.
    Deliveries { ids: Vec<i64>, upto: Option<i64> },
    /// These entries of the quarantine.
    Quarantine { ids: Vec<i64> },
    /// These idempotency keys.
    Keys { names: Vec<String> },
    /// None: nothing old is left.
    Done,
}

/// A task that was exported, with its newest event in the export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exported {
    pub task: i64,
    pub event: i64,
}

/// The end of a request to delete rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deleted {
    /// The number of rows that were deleted. For bodies, how many were.
    Rows(u32),
    /// Another process has the lease.
    NotOurs,
}

/// Reads the epoch times of rows that may have been recorded by a wrong clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Age {
    Old,
    Young,
    Unknown,
}

impl Cutoffs {
    /// Judges a time by a cutoff.
    fn age(&self, at: i64, cutoff: Timestamp) -> Age {
        if at > self.ahead.as_millis() {
            Age::Unknown
        } else if at < cutoff.as_millis() {
            Age::Old
        } else {
            Age::Young
        }
    }
}
