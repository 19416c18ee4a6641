//! What may happen next, in any order: apps submit, EvoLink works and calls back, truthfully or
//! not, the reconciler polls, time passes.

use std::time::Duration;

use evolink_receiver::domain::ids::SubmissionId;
use evolink_receiver::store::recorder::entry::Receipt;

use super::deliveries::{Answer, Message, Said};
use super::evolink::Fate;
use super::run::{Checked, Run};
use super::statement::{About, Call, Key, Statement};

const RECORDS_MAX: usize = 4;
const SUBMITS_MAX: usize = 8;

impl Run<'_> {
    pub async fn step(&mut self) -> Checked {
        match self.random.u8(..100) {
            0..15 => self.submit().await,
            15..29 => self.evolink_works(),
            29..62 => self.deliver().await,
            62..64 => {
                self.disconnect();
                Ok(())
            }
            64..74 => self.stray(),
            74..83 => self.reconcile().await,
            83..86 => self.claim_as_a_rival().await,
            86..88 => self.end_unanswered().await,
            88..91 => self.repeat().await,
            91..94 => self.replay(),
            94..97 => self.pass_time(),
            97 => {
                self.crash().await;
                Ok(())
            }
            98 => match self.any_submission() {
                Some(id) => self.restore_without(id).await,
                None => Ok(()),
            },
            _ => match self.any_submission() {
                Some(id) => self.say(vec![Call::GiveUp(id)]).await.map(drop),
                None => Ok(()),
            },
        }
    }

    /// An app submits with a new key, with a key that was used before, or without one, and
    /// sometimes twice at once.
    pub async fn submit(&mut self) -> Checked {
        if self.look.marks.len() >= RECORDS_MAX || self.submissions.len() >= SUBMITS_MAX {
            return self.deliver().await;
        }
        let key = self.draw_key();
        if key.is_none() && self.random.u8(..4) > 0 {
            return self.submit_without_key().await;
        }
        let times = if key.is_some() && self.random.u8(..5) == 0 {
            2
        } else {
            1
        };
        let first = self.submissions.len();
        for _ in 0..times {
            let id = SubmissionId::new(self.machine.clock.now());
            self.submissions.push((id, key.clone()));
        }
        let intents = self.submissions[first..].iter();
        let calls = intents
            .map(|(id, key)| Call::Intend(*id, key.clone()))
            .collect();
        let process = self.machine.starts;
        let told = self.say(calls).await?;
        for (told, at) in told.into_iter().zip(first..) {
            let (id, key) = self.submissions[at].clone();
            match told {
                Ok(Receipt::Fresh) if self.machine.starts == process => self.send(id, key)?,
                Ok(Receipt::Replay(_)) => self.count("replays of a key"),
                Ok(Receipt::Clash) => self.count("clashes of a key"),
                _ => {}
            }
        }
        Ok(())
    }

    fn draw_key(&mut self) -> Option<Key> {
        let used = self.submissions.iter().filter_map(|(_, key)| key.clone());
        let used: Vec<Key> = used.collect();
        match self.random.u8(..10) {
            0..4 => None,
            4..8 if !used.is_empty() => {
                let mut key = used[self.random.usize(..used.len())].clone();
                key.body = self.random.u8(..8) / 7;
                Some(key)
            }
            _ => Some(Key {
                name: format!("{}{}", self.key_prefix(), used.len()),
                body: 0,
            }),
        }
    }

    /// Sends the one POST of a submission.
    pub fn send(&mut self, id: SubmissionId, key: Option<Key>) -> Checked {
        let fate = [Fate::Completed, Fate::Failed, Fate::Cancelled, Fate::Never];
        let fate = fate[[0, 0, 0, 0, 0, 1, 1, 2, 3][self.random.usize(..9)]];
        let percent = self.random.u8(..100);
        let is_accepted = percent < 80;
        if is_accepted {
            let era = key.as_ref().and_then(|key| self.eras.get(&key.name));
            let era = era.copied().unwrap_or_default();
            let paid_as = key.as_ref().map(|key| format!("{}#{era}", key.name));
            self.check_charge(id)?;
            self.evolink.accept(id, paid_as.as_deref(), fate)?;
        } else {
            self.evolink.post(id)?;
        }
        let answer = match percent {
            0..60 => Answer::Accepted(self.truth(id)),
            60..68 => {
                let other = self.any_task(id);
                let told = Statement {
                    task: other,
                    ..self.truth(id)
                };
                self.lie_about(id, &told.task);
                self.misled.insert(told.task.clone());
                Answer::Accepted(told)
            }
            68..80 | 92..100 => Answer::Unknown,
            _ => Answer::Refused,
        };
        self.note(&format!("{id} is sent, and will be answered {answer:?}"));
        self.air.push(Message::SubmitAnswer(id, key, answer));
        Ok(())
    }

    fn truth(&mut self, id: SubmissionId) -> Statement {
        let work = self.evolink.of(id).expect("it was accepted");
        self.evolink.tell(work)
    }

    /// A task that does not belong to this submission: another's, or none's.
    pub fn any_task(&mut self, not_of: SubmissionId) -> String {
        let works = self.evolink.works.iter();
        let others = works.filter(|work| work.submission != not_of);
        let others: Vec<String> = others.map(|work| work.id.clone()).collect();
        if others.is_empty() || self.random.u8(..3) == 0 {
            let number = self.random.u8(..3);
            return format!("task-unified-{}-{number}", self.seed);
        }
        others[self.random.usize(..others.len())].clone()
    }

    /// Marks both the submission and the task's own submission as lied about, because their results
    /// will not be what EvoLink meant.
    pub fn lie_about(&mut self, id: SubmissionId, task: &str) {
        self.lied_about.insert(id);
        let works = self.evolink.works.iter();
        let own = works.filter(|work| work.id == task);
        self.lied_about.extend(own.map(|work| work.submission));
    }

    pub fn any_submission(&mut self) -> Option<SubmissionId> {
        if self.submissions.is_empty() {
            return None;
        }
        let at = self.random.usize(..self.submissions.len());
        Some(self.submissions[at].0)
    }

    /// A task advances or ends, and mostly EvoLink calls back.
    #[expect(clippy::unnecessary_wraps, reason = "it is a step like the others")]
    fn evolink_works(&mut self) -> Checked {
        if self.evolink.works.is_empty() {
            return Ok(());
        }
        let at = self.random.usize(..self.evolink.works.len());
        let (progress, ends) = (self.random.u8(1..100), self.random.bool());
        self.evolink.go_on(at, progress, ends);
        if self.random.u8(..4) > 0 {
            let id = self.evolink.works[at].submission;
            let said = self.evolink.tell(at);
            self.call_back(About::Submission(id), Said::Statement(said));
        }
        Ok(())
    }

    pub fn call_back(&mut self, about: About, said: Said) {
        self.note(&format!("to come: {about:?} {said:?}"));
        let tries = 4;
        self.air.push(Message::Callback { about, said, tries });
    }

    /// Repeats an earlier call.
    async fn repeat(&mut self) -> Checked {
        if self.said.is_empty() {
            return Ok(());
        }
        let call = self.said[self.random.usize(..self.said.len())].clone();
        self.count("calls repeated");
        self.say(vec![call]).await.map(drop)
    }

    /// Lets time pass: a moment, a while, longer than a task is polled, or longer than keys are
    /// remembered.
    #[expect(clippy::unnecessary_wraps, reason = "it is a step like the others")]
    fn pass_time(&mut self) -> Checked {
        let seconds = match self.random.u8(..100) {
            0..30 => 1,
            30..60 => 20,
            60..88 => 120,
            88..97 => 65 * 60,
            _ => 25 * 3600,
        };
        if seconds > 24 * 3600 {
            let keys = self.submissions.iter().filter_map(|(_, key)| key.clone());
            for key in keys.collect::<Vec<_>>() {
                *self.eras.entry(key.name).or_default() += 1;
            }
        }
        self.note(&format!("{seconds} s pass"));
        self.machine.clock.advance(Duration::from_secs(seconds));
        Ok(())
    }
}
