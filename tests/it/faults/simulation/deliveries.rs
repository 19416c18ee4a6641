//! Messages on their way to the receiver, and how they arrive.

use std::time::Duration;

use evolink_receiver::domain::ids::SubmissionId;
use evolink_receiver::store::recorder::entry::Receipt;

use super::run::{Checked, Run};
use super::statement::{About, Call, Key, Statement, Way};

/// A message on its way to the receiver.
#[derive(Clone, Debug)]
pub enum Message {
    SubmitAnswer(SubmissionId, Option<Key>, Answer),
    Callback {
        about: About,
        said: Said,
        tries: u8,
    },
    PollAnswer(SubmissionId, PollAnswer),
    /// An app has the answer to a submit without a key, or has disconnected without one. The store
    /// must learn this.
    AppHasAnswer(SubmissionId),
    AppLeft(SubmissionId),
    /// An operator replays an entry of the quarantine.
    Replay(i64, About, Statement),
}

#[derive(Clone, Debug)]
pub enum Answer {
    Accepted(Statement),
    /// EvoLink refused the submit or was never reached, so it is known not to have been accepted.
    Refused,
    Unknown,
}

#[derive(Clone, Debug)]
pub enum Said {
    Statement(Statement),
    Unreadable(String),
}

/// The answer is built when it arrives, because the truth may have changed since the query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PollAnswer {
    Truth,
    Empty,
    UnknownStatus,
    OtherTask,
    Unreadable,
    Gone,
    Failed,
    PutOff(Duration),
}

impl Run<'_> {
    /// Delivers some of the messages, at once and in any order.
    pub async fn deliver(&mut self) -> Checked {
        let mut arrived = Vec::new();
        for _ in 0..self.random.usize(1..=3).min(self.air.len()) {
            let at = self.random.usize(..self.air.len());
            arrived.push(self.air.swap_remove(at));
        }
        let calls: Vec<Call> = arrived
            .iter()
            .map(|message| self.call_of(message))
            .collect();
        if calls.is_empty() {
            return Ok(());
        }
        let process = self.machine.starts;
        let told = self.say(calls).await?;
        let is_alive = self.machine.starts == process;
        for (message, told) in arrived.into_iter().zip(told) {
            match (message, told) {
                // EvoLink retries, and sometimes repeats a callback that was answered.
                (Message::Callback { about, said, tries }, told) => {
                    let is_lost = told.is_err() && tries > 1;
                    let comes_again = told.is_ok() && self.has_mishaps && self.random.u8(..6) == 0;
                    if is_lost || comes_again {
                        let tries = tries.saturating_sub(1).max(1);
                        self.air.push(Message::Callback { about, said, tries });
                    }
                }
                (answer @ Message::SubmitAnswer(..), Err(_)) if is_alive => self.air.push(answer),
                // The operator retries a replay that failed for any reason.
                (replay @ Message::Replay(..), Err(_)) => self.air.push(replay),
                (Message::SubmitAnswer(id, key, _), Ok(Receipt::Mismatch)) if is_alive => {
                    self.air
                        .push(Message::SubmitAnswer(id, key, Answer::Unknown));
                }
                (Message::SubmitAnswer(id, _, answer), Ok(receipt)) if is_alive => {
                    self.answer_app(id, &answer, receipt);
                }
                (Message::AppHasAnswer(id), Err(_)) if is_alive => {
                    self.air.push(Message::AppHasAnswer(id));
                }
                (
                    Message::SubmitAnswer(..)
                    | Message::PollAnswer(..)
                    | Message::Replay(..)
                    | Message::AppHasAnswer(_)
                    | Message::AppLeft(_),
                    _,
                ) => {}
            }
        }
        Ok(())
    }

    /// Answers the app, if it is still waiting.
    fn answer_app(&mut self, id: SubmissionId, answer: &Answer, receipt: Receipt) {
        match (answer, receipt) {
            (Answer::Unknown, _) => self.app_leaves(id),
            (Answer::Refused, Receipt::Done) => self.app_is_refused(id),
            (Answer::Refused | Answer::Accepted(_), _) => self.app_is_answered(id),
        }
    }

    fn call_of(&mut self, message: &Message) -> Call {
        match message.clone() {
            Message::SubmitAnswer(id, _, Answer::Accepted(said)) => {
                Call::Hear(About::Submission(id), Way::Submit, said)
            }
            Message::SubmitAnswer(id, key, Answer::Refused) => Call::SubmitRefused(id, key),
            Message::SubmitAnswer(id, _, Answer::Unknown) => Call::SubmitUnknown(id),
            Message::Callback { about, said, .. } => match said {
                Said::Statement(said) => Call::Hear(about, Way::Callback, said),
                Said::Unreadable(body) => Call::Unreadable(about, Way::Callback, body),
            },
            Message::AppHasAnswer(id) => Call::AppAnswered(id),
            Message::AppLeft(id) => Call::AppLost(id),
            Message::Replay(id, about, said) => Call::Replay(id, about, said),
            Message::PollAnswer(id, answer) => self.answer_poll(id, answer),
        }
    }

    fn answer_poll(&mut self, id: SubmissionId, answer: PollAnswer) -> Call {
        let record = self.look.find(&id.to_string());
        let task = record.and_then(|(record, _)| record.task.clone());
        let mut works = self.evolink.works.iter();
        let work = works.position(|work| Some(&work.id) == task.as_ref());
        let about = About::Submission(id);
        if let PollAnswer::PutOff(pause) = answer {
            return Call::PollPutOff(id, pause);
        }
        let Some(work) = work.filter(|_| answer != PollAnswer::Gone) else {
            return Call::PollGone(id);
        };
        let truth = self.evolink.tell(work);
        let said = match answer {
            PollAnswer::Truth | PollAnswer::Gone | PollAnswer::PutOff(_) => truth,
            PollAnswer::Empty => {
                self.lie_about(id, &truth.task);
                self.misled.insert(truth.task.clone());
                Statement {
                    status: "completed",
                    results: Vec::new(),
                    ..truth
                }
            }
            PollAnswer::UnknownStatus => Statement {
                status: "paused",
                results: Vec::new(),
                ..truth
            },
            PollAnswer::OtherTask => Statement {
                task: format!("{}-other", truth.task),
                ..truth
            },
            PollAnswer::Unreadable => {
                return Call::Unreadable(about, Way::Poll, "[]".to_owned());
            }
            PollAnswer::Failed => return Call::PollFailed(id),
        };
        Call::Hear(about, Way::Poll, said)
    }
}
