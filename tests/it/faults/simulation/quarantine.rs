//! The model's quarantine: what is kept, what a new conflict does, and what an operator replays.

use std::collections::BTreeMap;

use evolink_receiver::domain::task::Verdict;
use evolink_receiver::domain::task::confirmation::Confirm;
use evolink_receiver::store::recorder::entry::Receipt;

use super::kept::Kept;
use super::model::{Content, Model};
use super::statement::{About, Statement, Way};

/// Different bodies that are kept for one callback URL.
const QUARANTINED_MAX: usize = 20;

/// Entries by subject and body.
pub type Quarantine = BTreeMap<(String, String), Held>;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Assigned by the store; 0 until it was seen there.
    pub id: i64,
    pub kind: String,
    /// The way by which it arrived first.
    pub way: String,
    /// How often it was received again.
    pub repeats: i64,
    /// The result of the operator's last replay.
    pub replayed: Option<String>,
}

/// A conflict that causes an event.
#[derive(Clone, Debug)]
pub struct News {
    task: String,
    observation: i64,
    /// The other outcome and when it was reported, if a poll is to confirm it.
    claim: Option<(String, i64)>,
}

impl Content {
    /// Keeps a body. Returns whether it is new in the quarantine.
    pub fn keep(&mut self, about: About, way: Way, kind: &str, body: &str) -> bool {
        let subject = about.name();
        let kept = self.quarantine.keys();
        let of_subject = kept.filter(|(other, _)| *other == subject).count();
        let key = (subject, body.to_owned());
        match self.quarantine.get_mut(&key) {
            Some(held) => held.repeats += 1,
            None if of_subject < QUARANTINED_MAX => {
                let held = Held {
                    kind: kind.to_owned(),
                    way: way.name().to_owned(),
                    ..Held::default()
                };
                self.quarantine.insert(key, held);
                return true;
            }
            None => {}
        }
        false
    }
}

impl Model {
    /// Records that the last observation of the task was another outcome that is new in quarantine.
    /// `asks_at` is when EvoLink is polled about it, if it is.
    pub fn tell_of_conflict(&mut self, said: &Statement, asks_at: Option<i64>) {
        let (_, observation) = self.last_of(&said.task);
        self.news.push(News {
            task: said.task.clone(),
            observation,
            claim: asks_at.map(|at| (said.status.to_owned(), at)),
        });
    }

    /// The record of a task, and the number of its last observation.
    fn last_of(&mut self, task: &str) -> (&mut Kept, i64) {
        let mut records = self.content.records.iter_mut();
        let record = records.find(|record| record.task.as_deref() == Some(task));
        let record = record.expect("it was heard");
        let number = i64::try_from(record.observations.len()).unwrap() - 1;
        (record, number)
    }

    /// Applies the conflicts. Only when the whole batch was applied is it known what is new in
    /// quarantine.
    pub fn end_batch(&mut self) {
        for news in std::mem::take(&mut self.news) {
            let (record, _) = self.last_of(&news.task);
            let event = ("task.conflict".to_owned(), Some(news.observation));
            record.events.push(event);
            record.is_due |= news.claim.is_some();
            record.claim = news.claim.or(record.claim.take());
        }
    }

    /// Replays an entry. An entry that was applied is not applied again. Its bytes are already in
    /// quarantine, so nothing is added; a conflict causes an event unless it already did.
    pub fn replay(&mut self, id: i64, about: About, said: &Statement, now: i64) -> Receipt {
        let key = (about.name(), said.body());
        let held = self.content.quarantine.get(&key);
        let Some(held) = held.filter(|held| held.id == id).cloned() else {
            return Receipt::Gone;
        };
        let before = held.replayed.as_deref().unwrap_or_default();
        if ["recorded", "unchanged", "duplicate"].contains(&before) {
            return Receipt::Seen {
                verdict: Verdict::Duplicate,
                restored: false,
            };
        }
        // It is believed as it would have been at first: as EvoLink's own answer, or as a callback.
        let ways = [Way::Submit, Way::Callback, Way::Poll];
        let first = ways.into_iter().find(|way| way.name() == held.way);
        let first = first.expect("it came by one of them");
        let receipt = self.listen(about, Way::Replay, first, said, now);
        let result = match receipt {
            Receipt::Seen { verdict, .. } => verdict.into_str(),
            _ => "mismatch",
        };
        if result == "conflict" && held.kind != "conflict" && before != "conflict" {
            let asks = first == Way::Callback && self.confirm != Confirm::Never;
            let (record, number) = self.last_of(&said.task);
            let event = ("task.conflict".to_owned(), Some(number));
            record.events.push(event);
            if asks {
                record.claim = Some((said.status.to_owned(), now));
                record.is_due = true;
            }
        }
        let held = self.content.quarantine.get_mut(&key).expect("it is there");
        held.replayed = Some(result.to_owned());
        receipt
    }
}
