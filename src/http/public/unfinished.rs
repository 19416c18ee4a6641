//! Callbacks whose bodies have not fully arrived, counted per token.
//!
//! A proxy in front of us is one address for all its clients. So the limits per address cannot tell
//! the holder of one callback URL from EvoLink, but the token can. `extract` takes a slot only
//! while it waits for the rest of a body. A callback that arrives in one piece needs none.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::domain::callback::Subject;

/// Unfinished callbacks of one submission. EvoLink sends one at a time. A few more are allowed for
/// attempts that EvoLink has given up while a proxy still holds them open.
const OF_SUBMISSION_MAX: usize = 8;

/// The unfinished callbacks of one standing URL may hold one connection in this many. Many tasks
/// share such a URL, so a burst of callbacks is normal.
const OF_STANDING_PART: usize = 4;

/// The slots of one listener. Cheap to clone.
#[derive(Clone, Debug)]
pub struct UnfinishedCallbacks {
    of_standing_max: usize,
    counts: Arc<Mutex<HashMap<Subject, usize>>>,
}

/// The slot of one callback that waits for the rest of its body. Dropping it returns the slot.
#[derive(Debug)]
pub struct UnfinishedSlot {
    counts: Arc<Mutex<HashMap<Subject, usize>>>,
    subject: Subject,
}

impl UnfinishedCallbacks {
    /// Creates the slots for a listener that accepts `connections_max` connections.
    pub fn new(connections_max: usize) -> Self {
        Self {
            of_standing_max: (connections_max / OF_STANDING_PART).max(OF_SUBMISSION_MAX),
            counts: Arc::default(),
        }
    }

    /// Returns `None` if the token of `subject` already holds as many slots as one token may have.
    pub fn try_take(&self, subject: &Subject) -> Option<UnfinishedSlot> {
        let max = match subject {
            Subject::Submission(_) => OF_SUBMISSION_MAX,
            Subject::Standing(_) => self.of_standing_max,
        };
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(subject.clone()).or_default();
        if *count >= max {
            return None;
        }
        *count += 1;
        Some(UnfinishedSlot {
            counts: Arc::clone(&self.counts),
            subject: subject.clone(),
        })
    }
}

impl Drop for UnfinishedSlot {
    fn drop(&mut self) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.subject) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.subject);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::SubmissionId;
    use crate::domain::timestamp::Timestamp;

    #[test]
    fn each_token_has_its_own_slots_and_returns_them() {
        let slots = UnfinishedCallbacks::new(2048);
        let [one, other] =
            [1, 2].map(|ms| Subject::Submission(SubmissionId::new(Timestamp::from_millis(ms))));
        let standing = Subject::Standing("shop".parse().unwrap());
        let take = |subject: &Subject, wanted: usize| -> Vec<_> {
            (0..wanted).map_while(|_| slots.try_take(subject)).collect()
        };
        let held = take(&one, 100);
        assert_eq!(held.len(), OF_SUBMISSION_MAX);
        assert_eq!(take(&other, 100).len(), OF_SUBMISSION_MAX);
        assert_eq!(take(&standing, 10_000).len(), 512);
        drop(held);
        assert_eq!(take(&one, 100).len(), OF_SUBMISSION_MAX);
        assert!(slots.counts.lock().unwrap().is_empty());
    }
}
