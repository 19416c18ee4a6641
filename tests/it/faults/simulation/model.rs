//! The reference model: what the store must hold after each call, and what the caller must get as
//! its answer. It is as plain as possible, and uses no code of the product except the receipts. It
//! has only those times that decide something.

use std::collections::BTreeMap;
use std::time::Duration;

use evolink_receiver::domain::ids::SubmissionId;
use evolink_receiver::domain::task::Verdict;
use evolink_receiver::domain::task::confirmation::Confirm;
use evolink_receiver::store::recorder::entry::Receipt;

use super::guard::{AllUnanswered, Apps};
use super::kept::Kept;
use super::look::Look;
use super::machine::PACE;
use super::quarantine::{News, Quarantine};
use super::statement::{About, Call, Key, LEASE, Statement, Way, own_address};

/// How long an `Idempotency-Key` is remembered.
const KEY_KEPT: Duration = Duration::from_hours(24);

/// The part that is compared with the store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    pub records: Vec<Kept>,
    /// The submission that holds each key.
    pub keys: BTreeMap<String, String>,
    pub quarantine: Quarantine,
    pub unanswered: AllUnanswered,
}

#[derive(Clone, Debug, Default)]
pub struct Model {
    pub content: Content,
    /// When each poll is due. Read from the store, because the model does not compute the gaps.
    pub next_polls: BTreeMap<String, i64>,
    /// Body and time of each key.
    keys: BTreeMap<String, (u8, i64)>,
    pub confirm: Confirm,
    /// The apps that wait at the process.
    pub apps: Apps,
    /// The effects of this batch's conflicts, which are applied at its end.
    pub news: Vec<News>,
}

impl Content {
    /// Describes, for a human reader, where the store differs from the model.
    pub fn difference(&self, store: &Self) -> String {
        let both = |at: usize| (self.records.get(at), store.records.get(at));
        let count = self.records.len().max(store.records.len());
        let other = (0..count).map(both).find(|(model, store)| model != store);
        if let Some((model, store)) = other {
            return format!("\nmodel {model:?}\nstore {store:?}");
        }
        let rest = |content: &Self| {
            format!(
                "{:?} {:?} {:?}",
                content.keys, content.quarantine, content.unanswered
            )
        };
        format!("\nmodel {}\nstore {}", rest(self), rest(store))
    }
}

impl Model {
    pub fn new(confirm: Confirm, apps: Apps) -> Self {
        Self {
            confirm,
            apps,
            ..Self::default()
        }
    }

    /// All results that the call may have.
    pub fn apply_each(&self, call: &Call, now: i64) -> Vec<(Self, Receipt)> {
        if let Call::IntendGuarded(id, guard) = call {
            return self.intend_guarded(*id, guard, now);
        }
        let mut after = self.clone();
        let receipt = after.apply(call, now);
        vec![(after, receipt)]
    }

    /// Applies the call. Returns the answer that the caller must get once this is on the disk.
    fn apply(&mut self, call: &Call, now: i64) -> Receipt {
        match call {
            Call::Intend(id, key) => self.intend(*id, key.as_ref(), now),
            Call::IntendGuarded(..) => unreachable!("several things may come of it"),
            Call::AppAnswered(id) => self.app_answered(*id),
            Call::AppLost(id) => self.app_lost(*id),
            Call::Hear(about, way, said) => self.hear(*about, *way, said, now),
            Call::Replay(id, about, said) => self.replay(*id, *about, said, now),
            Call::Unreadable(about, way, body) => {
                let own = self.of_about(*about);
                self.suspect(own, *way, now);
                self.content.keep(*about, *way, "unreadable", body);
                Receipt::Done
            }
            Call::SubmitUnknown(id) => {
                self.change(*id, |record| record.end_submit("submit_unknown"))
            }
            Call::SubmitRefused(id, key) => {
                self.change(*id, |record| record.end_submit("rejected"));
                let Some(at) = self.of(*id) else {
                    return Receipt::Done;
                };
                if self.content.records[at].state != "rejected" {
                    return Receipt::Known;
                }
                self.content.unanswered.remove(&id.to_string());
                if let Some(key) = key
                    && self.content.keys.get(&key.name) == Some(&id.to_string())
                {
                    self.content.keys.remove(&key.name);
                }
                Receipt::Done
            }
            Call::BeginPoll(id) => self.begin_poll(*id, now),
            Call::PollGone(id) => self.change(*id, |record| record.miss(now)),
            Call::PollFailed(id) => self.change(*id, |record| record.asked(now)),
            Call::PollPutOff(..) => Receipt::Done,
            Call::GiveUp(id) => {
                let claimed_at = self.of(*id).and_then(|at| {
                    let claim = self.content.records[at].claim.as_ref();
                    claim.map(|(_, at)| *at)
                });
                let since = id.made_at().as_millis();
                let age = now - claimed_at.map_or(since, |at| at.max(since));
                if age < i64::try_from(PACE.give_up_after.as_millis()).unwrap() {
                    return Receipt::Done;
                }
                let next = self.next_polls.get(&id.to_string());
                let was_just_asked = next.is_some_and(|at| *at > now);
                self.change(*id, |record| record.give_up(was_just_asked))
            }
        }
    }

    /// Takes over what only the store can tell: when polls are due, and the ids that the recorder
    /// generated.
    pub fn learn(&mut self, look: &Look) {
        for record in &mut self.content.records {
            if record.submission.is_empty() {
                let mut seen = look.content.records.iter();
                let seen = seen.find(|seen| seen.task == record.task);
                record.submission = seen.map_or(String::new(), |seen| seen.submission.clone());
            }
        }
        for (key, held) in &mut self.content.quarantine {
            if held.id == 0 {
                held.id = look.content.quarantine.get(key).map_or(0, |seen| seen.id);
            }
        }
        let records = look.content.records.iter().zip(&look.marks);
        self.next_polls = records
            .filter_map(|(record, marks)| Some((record.submission.clone(), marks.next_poll_at?)))
            .collect();
    }

    /// A backup from before this submission was restored.
    pub fn forget(&mut self, id: SubmissionId) {
        let name = id.to_string();
        self.content
            .records
            .retain(|record| record.submission != name);
        self.content.keys.retain(|_, holder| *holder != name);
        self.content.unanswered.remove(&name);
        self.content
            .quarantine
            .retain(|(subject, _), _| *subject != name);
    }

    fn of(&self, id: SubmissionId) -> Option<usize> {
        let name = id.to_string();
        let mut records = self.content.records.iter();
        records.position(|record| record.submission == name)
    }

    pub fn of_about(&self, about: About) -> Option<usize> {
        match about {
            About::Submission(id) => self.of(id),
            About::Standing(_) => None,
        }
    }

    fn change(&mut self, id: SubmissionId, change: impl FnOnce(&mut Kept)) -> Receipt {
        if let Some(at) = self.of(id) {
            change(&mut self.content.records[at]);
        }
        Receipt::Done
    }

    fn add(&mut self, submission: String, origin: &str) -> usize {
        self.content.records.push(Kept {
            submission,
            origin: origin.to_owned(),
            state: "submitting".to_owned(),
            ..Kept::default()
        });
        self.content.records.len() - 1
    }

    fn intend(&mut self, id: SubmissionId, key: Option<&Key>, now: i64) -> Receipt {
        if let Some(key) = key {
            let known = self
                .content
                .keys
                .get(&key.name)
                .zip(self.keys.get(&key.name));
            if let Some((holder, (body, made_at))) = known
                && now - made_at < i64::try_from(KEY_KEPT.as_millis()).unwrap()
            {
                return if *body == key.body {
                    Receipt::Replay(holder.parse().unwrap())
                } else {
                    Receipt::Clash
                };
            }
            self.content.keys.insert(key.name.clone(), id.to_string());
            self.keys.insert(key.name.clone(), (key.body, now));
        }
        self.add_submit(id);
        Receipt::Fresh
    }

    pub fn add_submit(&mut self, id: SubmissionId) {
        let at = self.add(id.to_string(), "submit");
        self.content.records[at].callback_url = own_address(id);
    }

    fn begin_poll(&mut self, id: SubmissionId, now: i64) -> Receipt {
        let name = id.to_string();
        if self.next_polls.get(&name).is_none_or(|at| *at > now) {
            return Receipt::NotDue;
        }
        let lease = i64::try_from(LEASE.as_millis()).unwrap();
        self.next_polls.insert(name, now + lease);
        Receipt::Done
    }

    fn hear(&mut self, about: About, way: Way, said: &Statement, now: i64) -> Receipt {
        let receipt = self.listen(about, way, way, said, now);
        match receipt {
            Receipt::Mismatch => drop(self.content.keep(about, way, "mismatch", &said.body())),
            Receipt::Seen {
                verdict: Verdict::Conflict,
                ..
            } if self.content.keep(about, way, "conflict", &said.body()) => {
                let asks = way == Way::Callback && self.confirm != Confirm::Never;
                self.tell_of_conflict(said, asks.then_some(now));
            }
            _ => {}
        }
        receipt
    }

    /// Applies a statement, except for its effect on the quarantine. `first` is the way by which a
    /// replayed entry arrived originally.
    pub fn listen(
        &mut self,
        about: About,
        way: Way,
        first: Way,
        said: &Statement,
        now: i64,
    ) -> Receipt {
        let mut records = self.content.records.iter();
        let holder = records.position(|record| record.task.as_ref() == Some(&said.task));
        let own = self.of_about(about);
        let is_unbound = |at: usize| self.content.records[at].task.is_none();
        let (at, is_new) = match (about, own, holder) {
            (About::Submission(_), Some(own), Some(holder)) if own == holder => (own, false),
            (About::Submission(_), Some(own), None) if is_unbound(own) => (own, false),
            (About::Submission(id), None, None) => (self.add(id.to_string(), "restored"), true),
            (About::Standing(_), _, Some(holder))
                if self.content.records[holder].origin == "standing" =>
            {
                (holder, false)
            }
            (About::Standing(_), _, None) => (self.add(String::new(), "standing"), false),
            (About::Submission(_), ..) => return self.mismatch(own, way, now),
            (About::Standing(_), ..) => return self.mismatch(holder, way, now),
        };
        let record = &mut self.content.records[at];
        let restored = is_new || record.state == "rejected";
        let verdict = record.see(way, first, said, self.confirm, now);
        let name = verdict.into_str().to_owned();
        let observed = (way.name().to_owned(), name, said.body());
        record.observations.push(observed);
        Receipt::Seen { verdict, restored }
    }

    fn mismatch(&mut self, suspect: Option<usize>, way: Way, now: i64) -> Receipt {
        self.suspect(suspect, way, now);
        Receipt::Mismatch
    }

    fn suspect(&mut self, at: Option<usize>, way: Way, now: i64) {
        let Some(at) = at else { return };
        let record = &mut self.content.records[at];
        match way {
            Way::Submit => record.end_submit("submit_unknown"),
            Way::Poll => record.asked(now),
            Way::Callback | Way::Replay => {
                record.is_due |= record.task.is_some() && !record.has_ended();
            }
        }
    }
}
