//! Applies the entries about result files: claims, ends of fetches, lost copies, an operator's
//! retries, and the end of their retention.

use crate::domain::delivery::Holder;
use crate::domain::event::EventType;
use crate::domain::result_file::{FetchOutcome, FileId, FileState, ResultFile};
use crate::domain::timestamp::Timestamp;
use crate::store::recorder::entry::{FileEntry, Receipt, RetriedFiles};
use crate::store::recorder::ledger::{Ledger, NewEvent};
use crate::store::results::CHANGED_AT_ONCE_MAX;

impl Ledger {
    pub fn apply_to_files(&mut self, entry: &FileEntry) -> Receipt {
        match entry {
            FileEntry::Claimed { id, holder } => self.claim_file(*id, holder),
            FileEntry::Ended {
                id,
                holder,
                end,
                jitter,
            } => self.end_fetch(*id, holder, end.clone(), *jitter),
            FileEntry::Lost { id, sha256, reason } => self.lose_copy(*id, sha256, reason),
            FileEntry::Retried(files) => self.retry_files(*files),
            FileEntry::Expired { before } => self.expire_files(*before),
        }
    }

    fn claim_file(&mut self, id: FileId, holder: &Holder) -> Receipt {
        let now = self.now;
        if self.change_file(id, |file| file.claim(holder, now)) {
            Receipt::Done
        } else {
            Receipt::NotDue
        }
    }

    fn end_fetch(
        &mut self,
        id: FileId,
        holder: &Holder,
        end: FetchOutcome,
        jitter: f64,
    ) -> Receipt {
        let now = self.now;
        if !self.change_file(id, |file| file.end(holder, end, jitter, now)) {
            return Receipt::Stale;
        }
        let receipt = self.file_receipt(id);
        if !matches!(receipt, Receipt::File(FileState::Pending) | Receipt::Stale) {
            self.files.ended.push(id);
            let seq = id.task_seq();
            let mut states = self.files.of_task(seq).map(ResultFile::state);
            let is_last = states.all(|state| state != FileState::Pending);
            drop(states);
            if is_last {
                self.publish_archived(seq);
            }
        }
        receipt
    }

    /// Publishes that all files of a task are archived or given up.
    fn publish_archived(&mut self, task_seq: i64) {
        if let Some(&record) = self.files.records.get(&task_seq) {
            let observation = self.records[record].shown;
            self.publish_archived_record(record, observation);
        }
    }

    pub fn publish_archived_record(&mut self, record: usize, observation: Option<u16>) {
        self.events.push(NewEvent {
            record,
            event_type: EventType::Archived,
            source: None,
            observation,
        });
    }

    fn lose_copy(&mut self, id: FileId, sha256: &str, reason: &str) -> Receipt {
        let now = self.now;
        let copy = self.files.known.get(&id).and_then(ResultFile::copy);
        if copy.is_none_or(|copy| copy.sha256 != sha256) {
            return Receipt::Stale;
        }
        self.change_file(id, |file| file.lose(sha256, reason, now));
        self.file_receipt(id)
    }

    fn file_receipt(&self, id: FileId) -> Receipt {
        let file = self.files.known.get(&id);
        file.map_or(Receipt::Stale, |file| Receipt::File(file.state()))
    }

    fn retry_files(&mut self, wanted: RetriedFiles) -> Receipt {
        let now = self.now;
        match wanted {
            RetriedFiles::OfTask { task_seq } => {
                let ids: Vec<FileId> = self.files.of_task(task_seq).map(|file| file.id).collect();
                self.change_files(&ids, |file| file.retry(now))
            }
            RetriedFiles::Failed { limit } => {
                let known = self.files.known.values();
                let failed = known.filter(|file| file.state() == FileState::Failed);
                let mut failed = failed.map(|file| file.id);
                let limit = limit.min(CHANGED_AT_ONCE_MAX) as usize;
                let ids: Vec<FileId> = failed.by_ref().take(limit).collect();
                let has_more = failed.next().is_some();
                match self.change_files(&ids, |file| file.retry(now)) {
                    Receipt::Files { files, .. } => Receipt::Files {
                        files,
                        more: has_more,
                    },
                    other => other,
                }
            }
        }
    }

    fn expire_files(&mut self, before: Timestamp) -> Receipt {
        let (now, ids) = (
            self.now,
            self.files.known.keys().copied().collect::<Vec<_>>(),
        );
        self.change_files(&ids, |file| file.expire(before, now))
    }

    /// Changes the files `ids`. `more` is true if the limit of one transaction was reached.
    fn change_files(
        &mut self,
        ids: &[FileId],
        change: impl Fn(&mut ResultFile) -> bool,
    ) -> Receipt {
        let changed = ids.iter().filter(|id| self.change_file(**id, &change));
        let files = u32::try_from(changed.count()).unwrap_or(u32::MAX);
        let more = files >= CHANGED_AT_ONCE_MAX;
        Receipt::Files { files, more }
    }

    /// Returns whether the file is known and `change` changed it.
    fn change_file(&mut self, id: FileId, change: impl FnOnce(&mut ResultFile) -> bool) -> bool {
        let files = &mut self.files;
        let has_changed = files.known.get_mut(&id).is_some_and(change);
        if has_changed {
            files.changed.insert(id);
        }
        has_changed
    }
}
