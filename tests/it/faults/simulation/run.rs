//! One history: the calls to the recorder so far, and whether the store is in a state that the
//! model allows.

use std::collections::{BTreeMap, BTreeSet};

use evolink_receiver::domain::ids::SubmissionId;
use evolink_receiver::domain::task::confirmation::Confirm;
use evolink_receiver::store::recorder::entry::Receipt;
use fastrand::Rng;

use super::apps::App;
use super::deliveries::Message;
use super::evolink::Evolink;
use super::guard::Apps;
use super::look::{Look, Start};
use super::machine::{Machine, Told};
use super::mishap::Mishap;
use super::model::Model;
use super::statement::{About, Call, Key, Statement};

pub type Checked<T = ()> = Result<T, String>;

/// How often each thing happened, in all histories.
pub type Tally = BTreeMap<&'static str, u64>;

pub struct Run<'a> {
    pub machine: &'a mut Machine,
    pub tally: &'a mut Tally,
    pub seed: u64,
    pub random: Rng,
    pub confirm: Confirm,
    pub start: Start,
    pub model: Model,
    /// The store's content after the last call.
    pub look: Look,
    pub evolink: Evolink,
    pub air: Vec<Message>,
    /// All calls so far that may be repeated.
    pub said: Vec<Call>,
    pub submissions: Vec<(SubmissionId, Option<Key>)>,
    /// Submissions about which EvoLink, or a forger with their callback URL, said something false.
    pub lied_about: BTreeSet<SubmissionId>,
    /// Tasks about which EvoLink itself said something false.
    pub misled: BTreeSet<String>,
    /// The readable form of everything that may be in quarantine, by subject and body.
    pub readable: BTreeMap<(String, String), (About, Statement)>,
    /// How often each submission was answered "no such task".
    pub gone: BTreeMap<SubmissionId, u32>,
    pub given_up: BTreeSet<SubmissionId>,
    /// How often all knowledge of a key was lost for a legitimate reason, so that it may be paid
    /// for again.
    pub eras: BTreeMap<String, u32>,
    /// The apps that submit without a key.
    pub apps: Vec<App>,
    /// The image that each submit without a key is for.
    pub wishes: BTreeMap<SubmissionId, u8>,
    /// How often knowledge of a wanted image was lost for a legitimate reason.
    pub forgotten: BTreeMap<u8, usize>,
    /// The content that each event id was seen with.
    pub event_ids: BTreeMap<String, String>,
    /// Whether anything may go wrong.
    pub has_mishaps: bool,
    pub trace: Vec<String>,
    is_told: bool,
}

impl<'a> Run<'a> {
    pub async fn begin(
        machine: &'a mut Machine,
        tally: &'a mut Tally,
        seed: u64,
        is_told: bool,
    ) -> Self {
        let prefix = format!("{seed:020}k");
        let start = Start::here(&machine.eye, prefix).await;
        let mut random = Rng::with_seed(seed);
        let confirm = Confirm::ALL[random.usize(..Confirm::ALL.len())];
        machine.configure(confirm).await;
        let apps = Apps {
            holder: machine.holder.clone(),
            is_shared: machine.eye.is_postgres(),
            ..Apps::default()
        };
        let model = Model::new(confirm, apps);
        Self {
            machine,
            tally,
            seed,
            random,
            confirm,
            start,
            model,
            look: Look::default(),
            evolink: Evolink::default(),
            air: Vec::new(),
            said: Vec::new(),
            submissions: Vec::new(),
            lied_about: BTreeSet::new(),
            misled: BTreeSet::new(),
            readable: BTreeMap::new(),
            gone: BTreeMap::new(),
            given_up: BTreeSet::new(),
            eras: BTreeMap::new(),
            apps: Vec::new(),
            wishes: BTreeMap::new(),
            forgotten: BTreeMap::new(),
            event_ids: BTreeMap::new(),
            has_mishaps: true,
            trace: Vec::new(),
            is_told,
        }
    }

    /// Adds a line to the trace.
    pub fn note(&mut self, line: &str) {
        let line = self.named(line);
        if self.is_told {
            println!("{line}");
        }
        self.trace.push(line);
    }

    pub fn count(&mut self, what: &'static str) {
        *self.tally.entry(what).or_default() += 1;
    }

    /// Replaces submission ids by short names.
    pub fn named(&self, text: &str) -> String {
        let names = self.submissions.iter().enumerate();
        names.fold(text.to_owned(), |text, (at, (id, _))| {
            text.replace(&format!("SubmissionId({id})"), &format!("s{at}"))
                .replace(&id.to_string(), &format!("s{at}"))
        })
    }

    pub fn key_prefix(&self) -> &str {
        &self.start.prefix
    }

    /// Sends all calls at once, with a mishap or without, and checks the result.
    pub async fn say(&mut self, calls: Vec<Call>) -> Checked<Vec<Told>> {
        let mishap = if self.has_mishaps {
            Mishap::draw(&mut self.random)
        } else {
            Mishap::None
        };
        self.remember(&calls);
        self.note(&format!("say {calls:?} with {mishap:?}"));
        self.count(mishap.name());
        let told = self.record(&calls, mishap).await;
        self.note(&format!("  told {told:?}"));
        self.judge(&calls, &told, mishap).await?;
        if mishap.is_crash() {
            self.restart().await;
        }
        let may_repeat = |call: &Call| {
            !matches!(
                call,
                Call::Intend(..) | Call::IntendGuarded(..) | Call::BeginPoll(_)
            )
        };
        self.said.extend(calls.into_iter().filter(may_repeat));
        Ok(told)
    }

    /// Remembers what the laws need.
    fn remember(&mut self, calls: &[Call]) {
        for call in calls {
            match call {
                Call::PollGone(id) => *self.gone.entry(*id).or_default() += 1,
                Call::GiveUp(id) => drop(self.given_up.insert(*id)),
                Call::Replay(..) => self.count("replays from quarantine"),
                Call::Hear(about, _, said) => self.can_be_read(*about, said),
                Call::PollPutOff(..) => self.count("polls put off"),
                _ => {}
            }
        }
    }

    pub fn can_be_read(&mut self, about: About, said: &Statement) {
        let key = (about.name(), said.body());
        self.readable.insert(key, (about, said.clone()));
    }

    async fn record(&mut self, calls: &[Call], mishap: Mishap) -> Vec<Told> {
        let entries = calls.iter().map(Call::entry).collect();
        match mishap {
            Mishap::None => self.machine.record(entries).await,
            Mishap::Crash { wakes } => self.machine.crash_in(entries, wakes).await,
            Mishap::CrashInLine => self.machine.crash_in_line(entries).await,
            Mishap::Refusal {
                place,
                way,
                of_one_task,
                wakes,
            } => {
                let marks = &self.look.marks;
                let of_one_task = of_one_task && !marks.is_empty();
                let seq = of_one_task.then(|| marks[self.random.usize(..marks.len())].seq);
                let what = self.machine.break_at(place, way, seq).await;
                self.note(&format!("  {what}"));
                let told = match wakes {
                    Some(wakes) => self.machine.crash_in(entries, wakes).await,
                    None => self.machine.record(entries).await,
                };
                self.machine.repair().await;
                told
            }
        }
    }

    /// Starts another process. Everything that the lost process held in memory is lost.
    async fn restart(&mut self) {
        let opens = self.random.u8(..8) == 0;
        self.machine.start(opens).await;
        self.lose_all_apps();
        self.air
            .retain(|message| matches!(message, Message::Callback { .. } | Message::Replay(..)));
    }

    /// The process crashes while it is idle.
    pub async fn crash(&mut self) {
        self.note("crash");
        self.machine.crash().await;
        self.restart().await;
    }

    /// Restores a backup from before a submission.
    pub async fn restore_without(&mut self, id: SubmissionId) -> Checked {
        let Some(seq) = self.look.find(&id.to_string()).map(|(_, marks)| marks.seq) else {
            return Ok(());
        };
        self.note(&format!("restore a backup without {id}"));
        self.count("restored backups");
        self.machine.crash().await;
        let (first, end) = (seq * 1024, (seq + 1) * 1024);
        let (prefix, keys_end) = (&self.start.prefix, self.start.keys_end());
        let sql = format!(
            "DELETE FROM observation WHERE id >= {first} AND id < {end};
            DELETE FROM event WHERE task_seq = {seq}; DELETE FROM delivery WHERE task_seq = {seq}; DELETE FROM quarantine WHERE subject = '{id}';
            DELETE FROM idempotency WHERE name >= '{prefix}' AND name < '{keys_end}' AND submission_id = '{id}';
            DELETE FROM unanswered_submit WHERE submission_id = '{id}';
            DELETE FROM task WHERE seq = {seq}"
        );
        self.machine.eye.restore(&sql).await;
        self.machine.remove_mark();
        self.machine.begin_epoch().await;
        self.restart().await;
        self.forget_wish(id);
        let keys = self.submissions.iter().filter(|(other, _)| *other == id);
        let keys: Vec<Key> = keys.filter_map(|(_, key)| key.clone()).collect();
        for key in keys {
            *self.eras.entry(key.name).or_default() += 1;
        }
        self.model.forget(id);
        self.look = Look::at(&self.machine.eye, &self.start).await;
        self.check_event_ids()?;
        let model = self.model.clone();
        self.settle_for(vec![model])
    }

    /// Checks that an event id belongs to one event only, whatever was restored.
    pub fn check_event_ids(&mut self) -> Checked {
        for (id, what) in &self.look.events {
            let first = self.event_ids.entry(id.clone());
            let first = first.or_insert_with(|| what.clone());
            if first != what {
                return Err(format!("event {id} was {first}, and is {what}"));
            }
        }
        Ok(())
    }

    /// Ends the history, so that a later one finds no work that this one left.
    pub async fn end(&mut self) {
        let mut records = self.look.content.records.iter();
        if records.any(|record| record.owed.iter().any(|(.., url)| url.is_some())) {
            self.count("owed to an app's own address");
        }
        let seq = self.start.task;
        let sql = format!(
            "UPDATE task SET next_poll_at = NULL, claimed = NULL, claimed_at = NULL WHERE seq > {seq} AND next_poll_at IS NOT NULL;
            UPDATE task SET state = 'submit_unknown' WHERE seq > {seq} AND state = 'submitting'"
        );
        self.machine.eye.execute(&sql).await;
    }
}

/// Whether the answer says that this process holds the claim on the poll.
pub fn is_claimed(told: &Told) -> bool {
    matches!(told, Ok(Receipt::Done))
}
