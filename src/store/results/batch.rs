//! The result files of one batch, and the changes to them.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::result_file::{FileId, ResultFile, Stage};
use crate::domain::timestamp::Timestamp;

/// The result files of one batch: those it creates, and those its entries concern.
#[derive(Default)]
pub struct Files {
    pub made: Vec<NewFiles>,
    /// The files that the entries concern, and the other files of their tasks.
    pub known: BTreeMap<FileId, ResultFile>,
    pub changed: BTreeSet<FileId>,
    /// The files whose last fetch ended in this batch, with or without a copy.
    pub ended: Vec<FileId>,
    /// The index in the ledger of the record with this `task.seq`.
    pub records: BTreeMap<i64, usize>,
}

/// The files of a task that this batch completes, or to which it adds some.
pub struct NewFiles {
    /// The index of the record in the ledger.
    pub record: usize,
    /// The number of the first of them.
    pub first: i64,
    pub urls: Vec<String>,
}

impl Files {
    /// The files of the task with this `task.seq`.
    pub fn of_task(&self, seq: i64) -> impl Iterator<Item = &ResultFile> {
        let ids = FileId::new(seq, 0)..FileId::new(seq + 1, 0);
        self.known.range(ids).map(|(_, file)| file)
    }

    /// Whether a fetch ended in this batch, or a file became due. A claim alone is not published.
    pub fn are_due_or_ended(&self, now: Timestamp) -> bool {
        let changed = self.changed.iter().filter_map(|id| self.known.get(id));
        let is_due = |file: &ResultFile| matches!(&file.stage, Stage::Pending { due_at, lease: None } if *due_at <= now);
        !self.ended.is_empty() || changed.into_iter().any(is_due)
    }
}
