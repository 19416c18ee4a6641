//! The repeat guard: finds submits without an idempotency key that repeat one whose answer their
//! app never received.
//!
//! Each such submit has a row in `unanswered_submit`. The row exists from the intent until the
//! complete answer was sent, or until the submit is known to be refused. `Apps` knows which of
//! these apps still wait at this process; `http::internal::submits::presence` keeps it up to date.
//! `Unanswered` is the part of a batch's ledger that concerns those rows.

mod apps;
pub mod heartbeat;
mod rows;

use std::time::Duration;

pub use apps::Apps;
pub use heartbeat::{DEAD_AFTER, HEARTBEAT_INTERVAL};
pub(super) use rows::{load, write};

use crate::domain::delivery::Holder;
use crate::domain::ids::SubmissionId;

/// The holder of a submit whose process has ended.
const ENDED_PROCESS: &str = "";

/// The features of an intent by which it is compared with earlier ones.
#[derive(Clone, Debug)]
pub struct RepeatGuard {
    /// SHA-256 of the canonical request.
    pub fingerprint: [u8; 32],
    /// Earlier submits are considered only if they are younger than this.
    pub window: Duration,
    /// Whether this is the second attempt. If `false`, the recorder answers `Unsure` when an equal
    /// submit seems to have an app that is still waiting.
    pub has_watched: bool,
    /// Results of watching rows of other processes.
    pub watched: Vec<Watched>,
}

/// A row of another process, after it was watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watched {
    pub submission_id: SubmissionId,
    pub found: WatchResult,
}

/// The result of watching a row of another process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchResult {
    /// The row was touched, so its app is waiting.
    AppWaits,
    /// Only other rows of that process were touched. The process will record EvoLink's answer.
    AppLeft,
    /// No row of that process was touched, so it has ended.
    ProcessEnded,
}

/// The row of one submit.
#[derive(Clone, Debug)]
pub struct Row {
    pub submission_id: SubmissionId,
    pub client: String,
    pub fingerprint: [u8; 32],
    pub holder: Holder,
    pub is_lost: bool,
}

/// The verdict on an intent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judged {
    New,
    /// The intent repeats this submit.
    Repeat {
        first: SubmissionId,
        /// The process that sent the submit has ended, so it will not record EvoLink's answer.
        is_orphan: bool,
    },
    /// An equal submit seems to have an app that is still waiting. Ask again in a moment.
    Unsure,
}

/// The rows that a batch concerns, and the changes to them.
#[derive(Default)]
pub struct Unanswered {
    /// `None` makes every intent a new one.
    pub context: Option<Context>,
    pub rows: Vec<Row>,
    /// Rows older than this are outside every window and may be removed.
    pub oldest: Option<SubmissionId>,
    pub made: Vec<SubmissionId>,
    pub lost: Vec<SubmissionId>,
    pub orphaned: Vec<SubmissionId>,
    pub touched: Vec<SubmissionId>,
    pub removed: Vec<SubmissionId>,
    /// The submits among `removed` whose app has its answer.
    pub answered: Vec<SubmissionId>,
}

/// The facts that distinguish a waiting app from one that has left.
#[derive(Clone, Debug)]
pub struct Context {
    pub apps: Apps,
    /// The lease holder id of this process.
    pub holder: Holder,
    /// Whether other processes may have the store open too.
    pub is_shared: bool,
}

enum RowState {
    /// The app is waiting, or has its answer.
    Served,
    Unsure,
    Unserved {
        is_orphan: bool,
    },
}

impl Unanswered {
    pub fn judge(&mut self, client: &str, guard: &RepeatGuard) -> Judged {
        let Some(context) = self.context.clone() else {
            return Judged::New;
        };
        let mut unserved = Vec::new();
        let mut is_unsure = false;
        for row in &self.rows {
            if row.client != client || row.fingerprint != guard.fingerprint {
                continue;
            }
            match context.state_of(row, guard) {
                RowState::Served => {}
                RowState::Unsure => is_unsure = true,
                RowState::Unserved { is_orphan } => unserved.push((row.submission_id, is_orphan)),
            }
        }
        if unserved.is_empty() {
            return if is_unsure {
                Judged::Unsure
            } else {
                Judged::New
            };
        }
        unserved.sort_unstable();
        // Several equal submits may have lost their apps. Concurrent repeats are matched to
        // different ones.
        let (first, is_orphan) = unserved[context.apps.turn(&guard.fingerprint) % unserved.len()];
        if is_orphan {
            self.orphan(first);
        }
        Judged::Repeat { first, is_orphan }
    }

    /// Adds a new submit, whose app is waiting.
    pub fn make(&mut self, submission_id: SubmissionId, client: &str, fingerprint: [u8; 32]) {
        let Some(context) = &self.context else { return };
        self.rows.push(Row {
            submission_id,
            client: client.to_owned(),
            fingerprint,
            holder: context.holder.clone(),
            is_lost: false,
        });
        self.made.push(submission_id);
    }

    /// Notes that the app has left without its answer, or that the answer says that the outcome is
    /// unknown.
    pub fn lose(&mut self, id: SubmissionId) {
        for row in &mut self.rows {
            row.is_lost |= row.submission_id == id;
        }
        self.lost.push(id);
    }

    /// Notes that the process that sent the submit has ended. Later intents need not find that out
    /// again.
    fn orphan(&mut self, id: SubmissionId) {
        for row in self.rows.iter_mut().filter(|row| row.submission_id == id) {
            row.is_lost = true;
            row.holder = Holder::parse(ENDED_PROCESS);
        }
        self.orphaned.push(id);
    }

    /// Removes the row: the app has its answer, or the submit was refused.
    pub fn remove(&mut self, id: SubmissionId) {
        self.rows.retain(|row| row.submission_id != id);
        self.removed.push(id);
    }
}

impl Context {
    fn state_of(&self, row: &Row, guard: &RepeatGuard) -> RowState {
        if self.apps.has_answer(row.submission_id) {
            return RowState::Served;
        }
        let is_ours = row.holder == self.holder;
        if row.is_lost {
            let is_orphan = !is_ours && (!self.is_shared || row.holder.as_str() == ENDED_PROCESS);
            return RowState::Unserved { is_orphan };
        }
        if is_ours {
            return match self.apps.is_waiting(row.submission_id) {
                true if guard.has_watched => RowState::Served,
                true => RowState::Unsure,
                false => RowState::Unserved { is_orphan: false },
            };
        }
        if !self.is_shared {
            // Only one process at a time uses a SQLite file, so the process of this row has ended.
            return RowState::Unserved { is_orphan: true };
        }
        let mut watched = guard.watched.iter();
        match watched.find(|watched| watched.submission_id == row.submission_id) {
            Some(watched) => match watched.found {
                WatchResult::AppWaits => RowState::Served,
                WatchResult::AppLeft => RowState::Unserved { is_orphan: false },
                WatchResult::ProcessEnded => RowState::Unserved { is_orphan: true },
            },
            None => RowState::Unsure,
        }
    }
}
