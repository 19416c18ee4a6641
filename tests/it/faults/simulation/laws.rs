//! Laws that must hold between two looks at the store, whatever the model says (rules I11 to
//! I13, I15, I17).

use std::collections::BTreeSet;

use super::kept::{Kept, OUTCOMES};
use super::look::{Look, Marks};

/// Minimum time between two polls of one task.
const POLL_GAP_MIN_MS: i64 = 3000;

impl Look {
    /// Returns the law that was broken between `before` and this look. `touched` are the
    /// submissions and tasks that the calls were about.
    pub fn broken_since(&self, before: &Self, touched: &BTreeSet<String>) -> Option<String> {
        for (old, old_marks) in before.content.records.iter().zip(&before.marks) {
            let Some((new, marks)) = self.find(&old.submission) else {
                return Some(format!("{} is gone", old.submission));
            };
            let is_touched = touched.contains(&old.submission)
                || old.task.as_ref().is_some_and(|task| touched.contains(task));
            let rule = if !is_touched && (old, old_marks) != (new, marks) {
                Some("a record changed that nobody spoke of")
            } else {
                step_back((old, old_marks), (new, marks))
            };
            if let Some(rule) = rule {
                return Some(format!(
                    "{rule}\nbefore {old:?} {old_marks:?}\nafter  {new:?} {marks:?}"
                ));
            }
        }
        self.broken()
    }

    /// Returns what is wrong in this look alone.
    fn broken(&self) -> Option<String> {
        if self.oddity.is_some() {
            return self.oddity.clone();
        }
        let mut ids = BTreeSet::new();
        for (record, marks) in self.content.records.iter().zip(&self.marks) {
            let rule = if record.task.as_ref().is_some_and(|task| !ids.insert(task)) {
                Some("one task id is bound to two submissions")
            } else {
                broken_record(record, marks)
            };
            if let Some(rule) = rule {
                return Some(format!("{rule}: {record:?} {marks:?}"));
            }
        }
        None
    }
}

fn rank(state: &str) -> u8 {
    match state {
        "submitting" => 0,
        "submit_unknown" | "rejected" => 1,
        "pending" => 2,
        "processing" => 3,
        "unresolved" => 4,
        _ => 5,
    }
}

fn step_back(old: (&Kept, &Marks), new: (&Kept, &Marks)) -> Option<&'static str> {
    let ((old, old_marks), (new, marks)) = (old, new);
    let outcome = |record: &Kept, marks: &Marks| {
        let what = (record.state.clone(), record.source.clone(), record.shown);
        (
            what,
            record.progress,
            marks.outcome_at,
            marks.digest.clone(),
        )
    };
    if old.has_ended() && outcome(old, old_marks) != outcome(new, marks) {
        return Some("an outcome changed");
    }
    if rank(&new.state) < rank(&old.state) {
        return Some("a state went back");
    }
    if new.progress < old.progress || new.polls < old.polls {
        return Some("progress, or the number of polls, fell");
    }
    if old.is_vouched && !new.is_vouched {
        return Some("EvoLink's word for a task id was forgotten");
    }
    if old.has_ended() {
        let rule = asked_without_a_cause(old, new);
        if rule.is_some() {
            return rule;
        }
    }
    if old.task.is_some() && old.task != new.task {
        return Some("a bound task id changed");
    }
    if !new.observations.starts_with(&old.observations) || !new.events.starts_with(&old.events) {
        return Some("what was told before was changed");
    }
    None
}

/// Each conflict that is new in quarantine causes at most one poll of the ended task, and one
/// event.
fn asked_without_a_cause(old: &Kept, new: &Kept) -> Option<&'static str> {
    let of = |record: &Kept| {
        let conflicts = record.events.iter();
        conflicts
            .filter(|(kind, _)| kind == "task.conflict")
            .count()
    };
    if of(old) < of(new) {
        return None;
    }
    let mut news = new.observations.iter().skip(old.observations.len());
    if news.any(|(way, ..)| way == "poll") && new.claim.is_some() {
        return Some("EvoLink has said what it says, and is asked again");
    }
    (new.claim.is_some() && new.claim != old.claim).then_some("asked again about an old conflict")
}

fn broken_record(record: &Kept, marks: &Marks) -> Option<&'static str> {
    let ends = OUTCOMES.map(|state| format!("task.{state}"));
    let of_outcome = record.events.iter().filter(|(kind, _)| ends.contains(kind));
    if of_outcome.count() != usize::from(record.has_ended()) {
        return Some("not one event for one outcome");
    }
    let kinds = record.events.iter().map(|(kind, _)| kind);
    let kinds: Vec<&String> = kinds.filter(|kind| *kind != "task.conflict").collect();
    if kinds.iter().collect::<BTreeSet<_>>().len() != kinds.len() {
        return Some("an event was written twice");
    }
    let numbers = record.events.iter().filter_map(|(_, number)| *number);
    let count = i64::try_from(record.observations.len()).unwrap();
    if numbers.chain(record.shown).any(|number| number >= count) {
        return Some("an observation is named that is not there");
    }
    if record.claim.is_some() && !record.is_due {
        return Some("something is claimed, and nobody will ask about it");
    }
    if record.has_ended() && record.is_due && record.claim.is_none() {
        return Some("it has ended, and is asked about all the same");
    }
    if record.has_ended() != marks.outcome_at.is_some() {
        return Some("an outcome without its time, or a time without outcome");
    }
    let gap = marks.next_poll_at.zip(marks.polled_at);
    if gap.is_some_and(|(next, last)| next < last + POLL_GAP_MIN_MS) {
        return Some("a poll is to come too soon after the last");
    }
    None
}
