//! Decides whether EvoLink is believed when it does not know a task. Pure.
//!
//! If `evolink.base_url` or the key is wrong, EvoLink knows none of our tasks. So if it does not
//! know several different tasks in a row, that says something about EvoLink as a whole, and nothing
//! about the tasks. Each of them continues to be polled at its own pace, until `give_up_after`.

use std::time::Duration;

use crate::domain::ids::SubmissionId;
use crate::domain::timestamp::Timestamp;

/// The number of different tasks that EvoLink must not know before its answers are ignored. The
/// breaker needs the same number of failures. EvoLink keeps tasks for days, so even one unknown
/// task is unusual.
const TASKS: usize = 5;

/// The time within which these answers must come. Where callbacks arrive, there are few polls, and
/// five unknown tasks in a month are five different accidents.
const WINDOW: Duration = Duration::from_hours(1);

/// The tasks that EvoLink did not know since it last knew one. Each occurs once, the latest last.
#[derive(Debug, Default)]
pub struct UnknownTasks(Vec<(SubmissionId, Timestamp)>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Doubted,
    Believed,
}

impl UnknownTasks {
    /// Records that EvoLink knows a task.
    pub fn known(&mut self) -> Option<Change> {
        let was_doubted = self.is_doubted();
        self.0.clear();
        was_doubted.then_some(Change::Believed)
    }

    /// Records that EvoLink does not know the task `id`. Call `is_doubted` after this.
    pub fn unknown(&mut self, id: SubmissionId, now: Timestamp) -> Option<Change> {
        let was_doubted = self.is_doubted();
        self.0
            .retain(|(other, at)| *other != id && now.since(*at) < WINDOW);
        if self.0.len() >= TASKS {
            self.0.remove(0);
        }
        self.0.push((id, now));
        match (was_doubted, self.is_doubted()) {
            (false, true) => Some(Change::Doubted),
            (true, false) => Some(Change::Believed),
            (true, true) | (false, false) => None,
        }
    }

    /// Whether the latest answer says nothing about its task.
    pub const fn is_doubted(&self) -> bool {
        self.0.len() >= TASKS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_millis(1_757_165_031_007);

    fn id() -> SubmissionId {
        SubmissionId::new(START)
    }

    #[test]
    fn five_different_tasks_in_a_row_are_needed() {
        let mut unknown = UnknownTasks::default();
        let first = id();
        for _ in 0..10 {
            assert_eq!(unknown.unknown(first, START), None);
        }
        for _ in 0..3 {
            assert_eq!(unknown.unknown(id(), START), None);
        }
        assert!(!unknown.is_doubted());
        assert_eq!(unknown.known(), None);
        for _ in 0..4 {
            assert_eq!(unknown.unknown(id(), START), None);
        }
        assert_eq!(unknown.unknown(id(), START), Some(Change::Doubted));
        for _ in 0..10 {
            assert_eq!(unknown.unknown(id(), START), None);
            assert!(unknown.is_doubted());
        }
        assert_eq!(unknown.known(), Some(Change::Believed));
        assert!(!unknown.is_doubted());
    }

    #[test]
    fn what_is_an_hour_old_does_not_count_and_what_goes_on_does() {
        let mut unknown = UnknownTasks::default();
        let ids: Vec<SubmissionId> = (0..5).map(|_| id()).collect();
        let mut now = START;
        for id in &ids {
            assert_eq!(unknown.unknown(*id, now), None, "too far apart");
            now = now.after(WINDOW / 4);
        }
        for _ in 0..20 {
            for id in &ids {
                unknown.unknown(*id, now);
                now = now.after(WINDOW / 5);
            }
            assert!(unknown.is_doubted());
        }
        now = now.after(WINDOW);
        assert_eq!(unknown.unknown(ids[0], now), Some(Change::Believed));
    }
}
