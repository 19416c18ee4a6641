//! Apps that submit without an idempotency key, lose the answer, and repeat. The image that each
//! wants is paid for once (rules I19, I20).

use evolink_receiver::domain::ids::SubmissionId;
use evolink_receiver::store::recorder::entry::Receipt;

use super::deliveries::Message;
use super::guard::{Guard, is_recent};
use super::machine::Told;
use super::run::{Checked, Run};
use super::statement::Call;

/// One app, which wants one image.
#[derive(Clone, Debug)]
pub struct App {
    /// The image that the app wants. Several apps may want the same one.
    wish: u8,
    /// The submit whose answer the app is waiting for.
    waits_for: Option<SubmissionId>,
    has_answer: bool,
}

impl Run<'_> {
    /// A new app submits, or one that lost its answer submits again. Sometimes two apps that want
    /// the same image submit at once.
    pub async fn submit_without_key(&mut self) -> Checked {
        let at = self.wanting_app();
        let mut wanting = vec![at];
        if self.random.u8(..6) == 0 {
            let wish = self.apps[at].wish;
            wanting.push(self.new_app(wish));
        }
        let mut guard = Guard {
            wish: self.apps[at].wish,
            client: self.key_prefix().to_owned(),
            has_watched: false,
            dead: Vec::new(),
        };
        let mut asking: Vec<(usize, SubmissionId)> = Vec::new();
        for at in wanting {
            let id = SubmissionId::new(self.machine.clock.now());
            self.submissions.push((id, None));
            self.wishes.insert(id, guard.wish);
            self.app_waits(at, id);
            asking.push((at, id));
        }
        for _ in 0..2 {
            let process = self.machine.starts;
            let calls = asking.iter();
            let calls = calls.map(|(_, id)| Call::IntendGuarded(*id, guard.clone()));
            let told = self.say(calls.collect()).await?;
            if self.machine.starts != process {
                return Ok(());
            }
            let mut unsure = Vec::new();
            for ((at, id), told) in asking.into_iter().zip(told) {
                if matches!(told, Ok(Receipt::Unsure)) {
                    self.count("submits that were unsure");
                    unsure.push((at, id));
                } else {
                    self.take_receipt(at, id, &told)?;
                }
            }
            if unsure.is_empty() {
                return Ok(());
            }
            asking = unsure;
            guard.has_watched = true;
            guard.dead = self.dead_rows();
        }
        Err(format!("unsure at the second look: {asking:?}"))
    }

    /// The rows that watching would find dead. No other process is alive here.
    fn dead_rows(&self) -> Vec<SubmissionId> {
        let rows = self.look.content.unanswered.iter();
        let dead = rows.filter(|(_, row)| !row.is_lost && row.holder != self.machine.holder);
        dead.map(|(id, _)| id.parse().unwrap()).collect()
    }

    fn take_receipt(&mut self, at: usize, id: SubmissionId, told: &Told) -> Checked {
        match told {
            Ok(Receipt::Fresh) => self.send(id, None),
            Ok(Receipt::Repeat { first, .. }) => {
                let first = *first;
                self.count("repeats");
                self.stop_waiting(at);
                let record = self.look.find(&first.to_string());
                if record.is_some_and(|(record, _)| record.task.is_some()) {
                    self.count("repeats with an answer");
                    self.app_has(at, first);
                }
                Ok(())
            }
            _ => {
                self.app_leaves(id);
                Ok(())
            }
        }
    }

    fn wanting_app(&mut self) -> usize {
        let apps = self.apps.iter().enumerate();
        let lost = apps.filter(|(_, app)| !app.has_answer && app.waits_for.is_none());
        let lost: Vec<usize> = lost.map(|(at, _)| at).collect();
        if !lost.is_empty() && self.random.u8(..3) > 0 {
            return lost[self.random.usize(..lost.len())];
        }
        let is_new = self.apps.is_empty() || self.random.u8(..4) > 0;
        let wish = if is_new {
            u8::try_from(self.apps.len()).unwrap()
        } else {
            self.apps[self.random.usize(..self.apps.len())].wish
        };
        self.new_app(wish)
    }

    fn new_app(&mut self, wish: u8) -> usize {
        self.apps.push(App {
            wish,
            waits_for: None,
            has_answer: false,
        });
        self.apps.len() - 1
    }

    /// An app that is waiting for an answer disconnects.
    pub fn disconnect(&mut self) {
        let waiting = self.apps.iter().filter_map(|app| app.waits_for);
        let waiting: Vec<SubmissionId> = waiting.collect();
        if !waiting.is_empty() {
            self.count("apps that disconnected");
            let id = waiting[self.random.usize(..waiting.len())];
            self.app_leaves(id);
        }
    }

    fn app_waits(&mut self, at: usize, id: SubmissionId) {
        self.apps[at].waits_for = Some(id);
        self.machine.apps().enter(id);
        self.model.apps.waiting.insert(id);
    }

    fn stop_waiting(&mut self, at: usize) {
        if let Some(id) = self.apps[at].waits_for.take() {
            self.machine.apps().leave(id);
            self.model.apps.waiting.remove(&id);
        }
    }

    fn waiting_for(&self, id: SubmissionId) -> Option<usize> {
        let mut apps = self.apps.iter();
        apps.position(|app| app.waits_for == Some(id))
    }

    /// The answer to submit `id` has arrived, and was handed over to the app.
    pub fn app_is_answered(&mut self, id: SubmissionId) {
        if let Some(at) = self.waiting_for(id) {
            self.stop_waiting(at);
            self.app_has(at, id);
        }
    }

    /// An app has the answer to submit `id`: its own submit or the one that it repeats.
    fn app_has(&mut self, at: usize, id: SubmissionId) {
        self.apps[at].has_answer = true;
        self.machine.apps().answered(id);
        self.model.apps.answered.insert(id);
        self.air.push(Message::AppHasAnswer(id));
    }

    /// The submit was refused. That is an answer, and leaves no row.
    pub fn app_is_refused(&mut self, id: SubmissionId) {
        if let Some(at) = self.waiting_for(id) {
            self.stop_waiting(at);
        }
    }

    /// The app has disconnected, or was answered that the outcome is unknown.
    pub fn app_leaves(&mut self, id: SubmissionId) {
        if let Some(at) = self.waiting_for(id) {
            self.stop_waiting(at);
            self.machine.apps().left(id);
            self.air.push(Message::AppLeft(id));
        }
    }

    /// The process has ended, and all connections with it.
    pub fn lose_all_apps(&mut self) {
        for app in &mut self.apps {
            app.waits_for = None;
        }
        self.model.apps.waiting.clear();
        self.model.apps.answered.clear();
        self.model.apps.holder.clone_from(&self.machine.holder);
    }

    /// Checks a charge that EvoLink is about to make: in one window at most one charge for each app
    /// that wants the image.
    pub fn check_charge(&self, id: SubmissionId) -> Checked {
        let Some(wish) = self.wishes.get(&id) else {
            return Ok(());
        };
        let now = self.machine.now();
        let earlier = self.evolink.works.iter().filter(|work| {
            self.wishes.get(&work.submission) == Some(wish) && is_recent(work.submission, now)
        });
        let charges = earlier.count() + 1;
        let wanted = self.apps.iter().filter(|app| app.wish == *wish).count();
        let forgotten = self.forgotten.get(wish).copied().unwrap_or_default();
        if charges > wanted + forgotten {
            return Err(format!(
                "what {wanted} apps want was paid for {charges} times"
            ));
        }
        Ok(())
    }

    /// A backup from before this submit was restored, so the image may be paid for again.
    pub fn forget_wish(&mut self, id: SubmissionId) {
        if let Some(wish) = self.wishes.get(&id) {
            *self.forgotten.entry(*wish).or_default() += 1;
        }
    }
}
