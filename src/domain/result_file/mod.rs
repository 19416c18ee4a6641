//! A result file of a completed task: it is fetched from EvoLink's host and archived before its URL
//! expires.
//!
//! Pure. Decides which process may fetch it, what the end of a fetch changes, and when the next
//! fetch is due. An archived file stays archived until its retention ends, or until its copy turns
//! out to be damaged.

mod place;
pub mod schedule;
#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

use strum::{EnumString, IntoStaticStr};

pub use place::{BadPlace, Place};

use super::delivery::{Holder, Lease};
use super::observation::RESULTS_MAX;
use super::reason::bounded;
use super::timestamp::Timestamp;

/// How long EvoLink keeps a result (from its z-image-turbo page).
pub const OFFERED_FOR: Duration = Duration::from_hours(24);

/// The length of a lease. The process that fetches renews it long before its end.
pub const LEASE: Duration = Duration::from_mins(2);

/// The files of one task have adjacent ids: `task.seq * 64 + n`.
pub const FILES_PER_TASK: i64 = 64;

// The SQL of the store and the migrations contains the literal 64.
const _: () = assert!(FILES_PER_TASK == 64 && RESULTS_MAX == 64);

/// The number of a file among all files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(pub i64);

/// The state of a file, as it is named in the database and in metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr, EnumString)]
#[strum(const_into_str, serialize_all = "snake_case")]
pub enum FileState {
    /// Waits to be fetched.
    Pending,
    /// Kept: its copy is whole and durable.
    Archived,
    /// Given up, until an operator has it fetched again.
    Failed,
    /// Was kept until its retention ended.
    Expired,
}

/// The copy of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileCopy {
    /// 64 lower-case hexadecimal digits, which also name the copy in the storage.
    pub sha256: String,
    pub bytes: u64,
    pub content_type: String,
    /// Width and height in pixels. `None` unless the file is an image.
    pub dimensions: Option<(u32, u32)>,
}

/// The state of a file, with the data that only this state has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stage {
    Pending {
        due_at: Timestamp,
        lease: Option<Lease>,
    },
    Archived {
        copy: FileCopy,
        at: Timestamp,
    },
    Failed {
        at: Timestamp,
    },
    Expired {
        copy: FileCopy,
        at: Timestamp,
    },
}

/// One file as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResultFile {
    pub id: FileId,
    /// The name of the task's client; empty if it has none.
    pub client: String,
    /// The newest URL at which EvoLink offers it.
    pub url: String,
    /// When EvoLink stops offering it.
    pub offered_until: Timestamp,
    pub stage: Stage,
    /// Fetches that failed since the file was recorded, or last retried by an operator.
    pub attempts: u32,
    /// Whether EvoLink was asked for a fresh URL since then.
    pub is_refreshed: bool,
    /// Why the last fetch failed.
    pub error: Option<String>,
}

/// The outcome of a fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FetchOutcome {
    /// The copy is whole and durable.
    Archived(FileCopy),
    /// The same URL may work later.
    Retry {
        reason: String,
        after: Option<Duration>,
    },
    /// The URL does not work, and EvoLink named another one.
    FreshUrl { url: String, reason: String },
    /// No further fetch can help.
    GaveUp { reason: String },
    /// The fetch did not begin, or a shutdown cut it off. It does not count as an attempt.
    GivenBack,
}

impl FileId {
    pub const fn new(task_seq: i64, number: i64) -> Self {
        Self(task_seq * FILES_PER_TASK + number)
    }

    /// The `task.seq` of its task.
    pub const fn task_seq(self) -> i64 {
        self.0 / FILES_PER_TASK
    }

    /// Its position among the results of the task, counted from 0.
    pub const fn number(self) -> i64 {
        self.0 % FILES_PER_TASK
    }
}

impl ResultFile {
    pub const fn state(&self) -> FileState {
        match self.stage {
            Stage::Pending { .. } => FileState::Pending,
            Stage::Archived { .. } => FileState::Archived,
            Stage::Failed { .. } => FileState::Failed,
            Stage::Expired { .. } => FileState::Expired,
        }
    }

    /// The copy that is kept now.
    pub const fn copy(&self) -> Option<&FileCopy> {
        match &self.stage {
            Stage::Archived { copy, .. } => Some(copy),
            Stage::Pending { .. } | Stage::Failed { .. } | Stage::Expired { .. } => None,
        }
    }

    /// Claims or renews the fetch for `holder`. Returns false if there is nothing to fetch, or if
    /// another process fetches it.
    pub fn claim(&mut self, holder: &Holder, now: Timestamp) -> bool {
        let Stage::Pending { lease, .. } = &mut self.stage else {
            return false;
        };
        let held = lease.as_ref();
        if held.is_some_and(|held| held.holder != *holder && held.counts(now)) {
            return false;
        }
        *lease = Some(Lease {
            holder: holder.clone(),
            until: now.after(LEASE),
        });
        true
    }

    /// Applies the end of a fetch by `holder`. Returns whether it changed the file. A copy counts,
    /// no matter which process made it. Any other end counts only while no other process fetches
    /// the file.
    pub fn end(&mut self, holder: &Holder, end: FetchOutcome, jitter: f64, now: Timestamp) -> bool {
        if let FetchOutcome::Archived(copy) = end {
            if !matches!(self.stage, Stage::Pending { .. } | Stage::Failed { .. }) {
                return false;
            }
            self.stage = Stage::Archived { copy, at: now };
            self.error = None;
            return true;
        }
        let Stage::Pending { lease, .. } = &self.stage else {
            return false;
        };
        let held = lease.as_ref();
        if held.is_some_and(|held| held.holder != *holder && held.counts(now)) {
            return false;
        }
        match end {
            FetchOutcome::Archived(_) => return false,
            FetchOutcome::GivenBack => {
                let Stage::Pending { lease, .. } = &mut self.stage else {
                    return false;
                };
                *lease = None;
            }
            FetchOutcome::Retry { reason, after } => self.fail_once(&reason, after, jitter, now),
            FetchOutcome::FreshUrl { url, reason } => {
                (self.url, self.is_refreshed) = (storable_url(&url), true);
                self.error = Some(bounded(&reason));
                let (due_at, lease) = (now, None);
                self.stage = Stage::Pending { due_at, lease };
            }
            FetchOutcome::GaveUp { reason } => {
                self.attempts = self.attempts.saturating_add(1);
                self.error = Some(bounded(&reason));
                self.stage = Stage::Failed { at: now };
            }
        }
        true
    }

    fn fail_once(&mut self, reason: &str, after: Option<Duration>, jitter: f64, now: Timestamp) {
        self.attempts = self.attempts.saturating_add(1);
        self.error = Some(bounded(reason));
        self.stage = match schedule::next(self.attempts, jitter, after, now, self.offered_until) {
            Some(due_at) => Stage::Pending {
                due_at,
                lease: None,
            },
            None => Stage::Failed { at: now },
        };
    }

    /// Makes a failed file pending again, at an operator's request. Returns false if it did not
    /// fail.
    pub fn retry(&mut self, now: Timestamp) -> bool {
        if !matches!(self.stage, Stage::Failed { .. }) {
            return false;
        }
        (self.attempts, self.is_refreshed) = (0, false);
        self.stage = Stage::Pending {
            due_at: now,
            lease: None,
        };
        true
    }

    /// Records that the copy `sha256` is missing or damaged. The file is fetched again if EvoLink
    /// may still offer it. Otherwise it stays archived, because nothing can replace the copy, and
    /// the storage may have it again later. Returns false if that copy is not the one that is kept.
    pub fn lose(&mut self, sha256: &str, reason: &str, now: Timestamp) -> bool {
        if self.copy().is_none_or(|copy| copy.sha256 != sha256) {
            return false;
        }
        if now >= self.offered_until && self.error.as_deref() == Some(reason) {
            return false;
        }
        self.error = Some(bounded(reason));
        if now < self.offered_until {
            (self.attempts, self.is_refreshed) = (0, false);
            self.stage = Stage::Pending {
                due_at: now,
                lease: None,
            };
        }
        true
    }

    /// Ends the retention of a file that was archived before `before`. Returns whether it did.
    pub fn expire(&mut self, before: Timestamp, now: Timestamp) -> bool {
        match &self.stage {
            Stage::Archived { copy, at } if *at < before => {
                let copy = copy.clone();
                self.stage = Stage::Expired { copy, at: now };
                true
            }
            _ => false,
        }
    }
}

/// Returns the URL as it is stored. PostgreSQL has no U+0000 in its texts. The space in its place
/// has the URL refused, as U+0000 would.
pub fn storable_url(url: &str) -> String {
    url.replace('\0', " ")
}

impl fmt::Display for FileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}
