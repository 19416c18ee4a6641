//! The repeat guard: which submits without an idempotency key repeat one whose answer their app
//! never received.
//!
//! Each such submit has a row in `unanswered_submit` from its intent until its answer was handed
//! over whole, or until it is known to be refused. `Apps` knows which of them still wait at this
//! process; `http::presence` keeps it up to date. `Unanswered` is the part of a batch's ledger that
//! is about those rows.

mod apps;
mod beats;
mod rows;

use std::time::Duration;

pub use apps::Apps;
pub use beats::{DEAD_AFTER, keep_beating};
pub(super) use rows::{load, write};

use crate::domain::delivery::Holder;
use crate::domain::ids::SubmissionId;

/// The holder of a submit whose process is no more.
const NOBODY: &str = "";

/// The features of an intent that earlier ones are compared by.
#[derive(Clone, Debug)]
pub struct RepeatGuard {
    /// SHA-256 of the canonical request.
    pub fingerprint: [u8; 32],
    /// An earlier submit is looked at if it was made less than this ago.
    pub window: Duration,
    /// Whether equal submits may still be on their way out: `false` makes the recorder answer
    /// `Unsure` if it meets one that seems to wait.
    pub is_second_look: bool,
    /// Rows of other processes, as far as that was found out.
    pub watched: Vec<Watched>,
}

/// What was found out about a row of another process by watching it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watched {
    pub submission_id: SubmissionId,
    /// The row was touched: its app waits.
    pub app_waits: bool,
    /// A row of that process was touched, so it will record EvoLink's answer.
    pub process_lives: bool,
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
    /// It repeats this submit.
    Repeat {
        first: SubmissionId,
        /// The process that sent it is no more, so it will not record EvoLink's answer.
        is_orphan: bool,
    },
    /// An equal submit seems to wait; to be asked again in a moment.
    Unsure,
}

/// The rows that a batch concerns, and what it changes in them.
#[derive(Default)]
pub struct Unanswered {
    /// `None` makes every intent a new one.
    pub context: Option<Context>,
    pub rows: Vec<Row>,
    /// Rows older than this are out of every window, and may be removed.
    pub oldest: Option<SubmissionId>,
    pub made: Vec<SubmissionId>,
    pub lost: Vec<SubmissionId>,
    pub orphaned: Vec<SubmissionId>,
    pub beating: Vec<SubmissionId>,
    pub removed: Vec<SubmissionId>,
    /// Those whose app has its answer: among `removed`.
    pub answered: Vec<SubmissionId>,
}

/// The facts that tell a waiting app from one that has left.
#[derive(Clone, Debug)]
pub struct Context {
    pub apps: Apps,
    /// This process.
    pub holder: Holder,
    /// Whether other processes may have the store open, too.
    pub is_shared: bool,
}

enum Standing {
    /// Its app waits, or has its answer.
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
            match context.standing(row, guard) {
                Standing::Served => {}
                Standing::Unsure => is_unsure = true,
                Standing::Unserved { is_orphan } => unserved.push((row.submission_id, is_orphan)),
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
        // Several equal submits may have lost their apps. Repeats that come together get one each.
        let (first, is_orphan) = unserved[context.apps.turn() % unserved.len()];
        if is_orphan {
            self.orphan(first);
        }
        Judged::Repeat { first, is_orphan }
    }

    /// A new submit, whose app waits.
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

    /// The app has left without its answer, or the answer is that the outcome is unknown.
    pub fn lose(&mut self, id: SubmissionId) {
        for row in &mut self.rows {
            row.is_lost |= row.submission_id == id;
        }
        self.lost.push(id);
    }

    /// The process that sent the submit is no more. Those who look later need not find that out
    /// again.
    fn orphan(&mut self, id: SubmissionId) {
        for row in self.rows.iter_mut().filter(|row| row.submission_id == id) {
            row.is_lost = true;
            row.holder = Holder::parse(NOBODY);
        }
        self.orphaned.push(id);
    }

    /// Nothing is owed to the app any more: it has its answer, or the submit was refused.
    pub fn remove(&mut self, id: SubmissionId) {
        self.rows.retain(|row| row.submission_id != id);
        self.removed.push(id);
    }
}

impl Context {
    fn standing(&self, row: &Row, guard: &RepeatGuard) -> Standing {
        if self.apps.has_answer(row.submission_id) {
            return Standing::Served;
        }
        let is_ours = row.holder == self.holder;
        if row.is_lost {
            let is_orphan = !is_ours && (!self.is_shared || row.holder.as_str() == NOBODY);
            return Standing::Unserved { is_orphan };
        }
        if is_ours {
            return match self.apps.is_waiting(row.submission_id) {
                true if guard.is_second_look => Standing::Served,
                true => Standing::Unsure,
                false => Standing::Unserved { is_orphan: false },
            };
        }
        if !self.is_shared {
            // SQLite has one process at a time: this row's is no more.
            return Standing::Unserved { is_orphan: true };
        }
        let mut watched = guard.watched.iter();
        match watched.find(|watched| watched.submission_id == row.submission_id) {
            Some(watched) if watched.app_waits => Standing::Served,
            Some(watched) => Standing::Unserved {
                is_orphan: !watched.process_lives,
            },
            None => Standing::Unsure,
        }
    }
}
