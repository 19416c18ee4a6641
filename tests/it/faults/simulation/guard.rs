//! The model's repeat guard: the submits without an idempotency key whose answer never reached
//! their app, and how an equal submit is answered.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use evolink_receiver::domain::ids::SubmissionId;
use evolink_receiver::store::recorder::entry::Receipt;
use evolink_receiver::store::repeats::{RepeatGuard, WatchResult, Watched};

use super::model::Model;

/// A submit is compared with submits that are at most this old.
pub const WINDOW: Duration = Duration::from_mins(10);

/// The properties by which a submit without a key is compared.
#[derive(Clone, Debug)]
pub struct Guard {
    /// Equal submits have equal values.
    pub wish: u8,
    /// Names the history, so that submits of other histories are not equal to it.
    pub client: String,
    pub has_watched: bool,
    /// Rows that nothing waits for, as the watcher has found, because their process is dead.
    pub dead: Vec<SubmissionId>,
}

/// The row of a submit whose app has no answer yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unanswered {
    pub wish: u8,
    pub holder: String,
    pub is_lost: bool,
}

/// All rows, by submission.
pub type AllUnanswered = BTreeMap<String, Unanswered>;

/// What the process knows about its apps. It is lost with the process.
#[derive(Clone, Debug, Default)]
pub struct Apps {
    /// Names the process.
    pub holder: String,
    /// Whether other processes may have the store open.
    pub is_shared: bool,
    pub waiting: BTreeSet<SubmissionId>,
    /// Submits whose answer was handed over, which the store may not know yet.
    pub answered: BTreeSet<SubmissionId>,
}

enum Standing {
    Served,
    Unsure,
    Unserved { is_orphan: bool },
}

impl Guard {
    pub fn for_recorder(&self) -> RepeatGuard {
        let watched = self.dead.iter().map(|id| Watched {
            submission_id: *id,
            found: WatchResult::ProcessEnded,
        });
        RepeatGuard {
            fingerprint: [self.wish; 32],
            window: WINDOW,
            has_watched: self.has_watched,
            watched: watched.collect(),
        }
    }
}

/// Whether a submit is still compared with others at the time `now`.
pub fn is_recent(id: SubmissionId, now: i64) -> bool {
    now - id.made_at().as_millis() <= i64::try_from(WINDOW.as_millis()).unwrap()
}

/// Removes the rows that no submit is compared with any more. They may exist or not.
pub fn without_old(rows: &AllUnanswered, now: i64) -> AllUnanswered {
    let rows = rows.iter();
    let recent = rows.filter(|(name, _)| is_recent(name.parse().unwrap(), now));
    recent
        .map(|(name, row)| (name.clone(), row.clone()))
        .collect()
}

impl Model {
    /// All permitted results of a submit without a key. If several apps have no answer, a repeat
    /// may get the answer of any of them.
    pub fn intend_guarded(
        &self,
        id: SubmissionId,
        guard: &Guard,
        now: i64,
    ) -> Vec<(Self, Receipt)> {
        let (mut unserved, mut is_unsure) = (Vec::new(), false);
        for (name, row) in &without_old(&self.content.unanswered, now) {
            if row.wish != guard.wish {
                continue;
            }
            match self.standing(name.parse().unwrap(), row, guard) {
                Standing::Served => {}
                Standing::Unsure => is_unsure = true,
                Standing::Unserved { is_orphan } => unserved.push((name.clone(), is_orphan)),
            }
        }
        if unserved.is_empty() {
            let mut after = self.clone();
            let receipt = if is_unsure {
                Receipt::Unsure
            } else {
                after.add_submit(id);
                let row = Unanswered {
                    wish: guard.wish,
                    holder: self.apps.holder.clone(),
                    is_lost: false,
                };
                after.content.unanswered.insert(id.to_string(), row);
                Receipt::Fresh
            };
            return vec![(after, receipt)];
        }
        let each = unserved.into_iter().map(|(name, is_orphan)| {
            let mut after = self.clone();
            if is_orphan {
                let row = after.content.unanswered.get_mut(&name).unwrap();
                row.is_lost = true;
                row.holder.clear();
            }
            let first = name.parse().unwrap();
            (after, Receipt::Repeat { first, is_orphan })
        });
        each.collect()
    }

    /// Whether the app of an earlier submit has its answer, or will have it.
    fn standing(&self, id: SubmissionId, row: &Unanswered, guard: &Guard) -> Standing {
        let apps = &self.apps;
        let is_ours = row.holder == apps.holder;
        if apps.answered.contains(&id) {
            return Standing::Served;
        }
        if is_ours && !row.is_lost && apps.waiting.contains(&id) {
            return if guard.has_watched {
                Standing::Served
            } else {
                Standing::Unsure
            };
        }
        if is_ours {
            return Standing::Unserved { is_orphan: false };
        }
        // In this test all other processes are dead; with a shared store, that has to be found out
        // first.
        let is_known_dead = !apps.is_shared || row.holder.is_empty();
        if row.is_lost {
            return Standing::Unserved {
                is_orphan: is_known_dead,
            };
        }
        if is_known_dead || guard.dead.contains(&id) {
            Standing::Unserved { is_orphan: true }
        } else {
            Standing::Unsure
        }
    }

    pub fn app_answered(&mut self, id: SubmissionId) -> Receipt {
        self.content.unanswered.remove(&id.to_string());
        self.apps.answered.remove(&id);
        Receipt::Done
    }

    pub fn app_lost(&mut self, id: SubmissionId) -> Receipt {
        if let Some(row) = self.content.unanswered.get_mut(&id.to_string()) {
            row.is_lost = true;
        }
        Receipt::Done
    }
}
