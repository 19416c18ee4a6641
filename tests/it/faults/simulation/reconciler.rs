//! The reconciler: what it finds in the real store, and what it does with it. Also the end of a
//! history that must end well: the faults stop, and every task must finish.

use std::collections::BTreeSet;
use std::time::Duration;

use evolink_receiver::domain::ids::SubmissionId;
use evolink_receiver::store::read::overdue::DueTask;

use super::deliveries::{Message, PollAnswer, Said};
use super::evolink::Fate;
use super::machine::PACE;
use super::run::{Checked, Run, is_claimed};
use super::statement::{About, Call};

/// After this time a submit has been answered or was cut off.
const SUBMIT_TIME: Duration = Duration::from_mins(1);

/// More than is ever due in one history.
const LIMIT: u32 = 32;

/// Longer than any gap between polls.
const CALM_GAP: Duration = Duration::from_mins(15);

/// Rounds after which every task has finished. It takes five to give a task up.
const CALM_ROUNDS: u32 = 8;

/// Limit on deliveries. Each one removes a message in flight.
const DELIVERIES_MAX: u32 = 200;

impl Run<'_> {
    /// Scans for due tasks, claims them, perhaps beside a rival, and polls.
    pub async fn reconcile(&mut self) -> Checked {
        let now = self.machine.clock.now();
        let horizon = PACE.horizon(now);
        let store = self.machine.store();
        let mut due = Vec::new();
        for found in [
            store
                .list_due(now, horizon, LIMIT)
                .await
                .map(|due| due.tasks),
            store
                .list_rarely_due(now, horizon, LIMIT)
                .await
                .map(|due| due.tasks),
        ] {
            due.extend(found.map_err(|error| error.to_string())?);
        }
        let found: BTreeSet<String> = due
            .iter()
            .map(|due| due.submission_id.to_string())
            .collect();
        let records = self.look.content.records.iter().zip(&self.look.marks);
        let wanted = records.filter(|(_, marks)| {
            let at = marks.next_poll_at;
            at.is_some_and(|at| at <= now.as_millis())
        });
        let wanted: BTreeSet<String> = wanted
            .map(|(record, _)| record.submission.clone())
            .collect();
        if found != wanted {
            return Err(format!("due are {wanted:?}, found were {found:?}"));
        }
        let has_had_its_time = |due: &DueTask| now.since(due.asked_since) >= PACE.give_up_after;
        let (old, young): (Vec<_>, Vec<_>) = due
            .into_iter()
            .partition(|due| due.is_waited_for && has_had_its_time(due));
        if !old.is_empty() {
            let old = old.iter().map(|due| Call::GiveUp(due.submission_id));
            self.say(old.collect()).await?;
        }
        let mut claims: Vec<SubmissionId> = young.iter().map(|due| due.submission_id).collect();
        if self.has_mishaps && self.random.u8(..4) == 0 {
            claims.extend_from_within(..);
        }
        self.claim(claims).await
    }

    /// Another replica has scanned earlier, and claims late.
    pub async fn claim_as_a_rival(&mut self) -> Checked {
        let records = &self.look.content.records;
        if records.is_empty() {
            return Ok(());
        }
        let id = &records[self.random.usize(..records.len())].submission;
        let id = id.parse().unwrap();
        self.claim(vec![id]).await
    }

    async fn claim(&mut self, ids: Vec<SubmissionId>) -> Checked {
        if ids.is_empty() {
            return Ok(());
        }
        let process = self.machine.starts;
        let claims = ids.iter().map(|id| Call::BeginPoll(*id)).collect();
        let told = self.say(claims).await?;
        for (id, told) in ids.into_iter().zip(told) {
            if is_claimed(&told) && self.machine.starts == process {
                let answer = self.draw_answer();
                self.count("polls");
                self.air.push(Message::PollAnswer(id, answer));
            }
        }
        Ok(())
    }

    fn draw_answer(&mut self) -> PollAnswer {
        if !self.has_mishaps {
            return PollAnswer::Truth;
        }
        match self.random.u8(..14) {
            0..4 => PollAnswer::Truth,
            4..6 => PollAnswer::Empty,
            6 => PollAnswer::UnknownStatus,
            7 => PollAnswer::OtherTask,
            8 => PollAnswer::Unreadable,
            9 => PollAnswer::Failed,
            10..12 => PollAnswer::PutOff(Duration::from_secs([1, 30, 600][self.random.usize(..3)])),
            _ => PollAnswer::Gone,
        }
    }

    /// Ends submits that were cut off in the middle.
    pub async fn end_unanswered(&mut self) -> Checked {
        let now = self.machine.clock.now();
        let (before, beyond) = (now.before(SUBMIT_TIME), now.after(SUBMIT_TIME));
        let store = self.machine.store();
        let found = store.list_unanswered(before, beyond, LIMIT).await;
        let found = found.map_err(|error| error.to_string())?;
        let names: BTreeSet<String> = found.iter().map(ToString::to_string).collect();
        let records = self.look.content.records.iter().zip(&self.look.marks);
        let wanted = records.filter(|(record, marks)| {
            record.state == "submitting" && marks.submitted_at < before.as_millis()
        });
        let wanted: BTreeSet<String> = wanted
            .map(|(record, _)| record.submission.clone())
            .collect();
        if names != wanted {
            return Err(format!("unanswered are {wanted:?}, found were {names:?}"));
        }
        if found.is_empty() {
            return Ok(());
        }
        self.count("submits cut off");
        let calls = found.into_iter().map(Call::SubmitUnknown).collect();
        self.say(calls).await.map(drop)
    }

    /// Stops the faults: after a bounded time no task is open (rules R6, I15).
    pub async fn come_to_an_end(&mut self) -> Checked {
        self.note("from here on nothing goes wrong");
        self.has_mishaps = false;
        let is_deaf = self.random.bool();
        if is_deaf {
            self.note("no callback comes through");
            self.air
                .retain(|message| !matches!(message, Message::Callback { .. }));
        }
        for at in 0..self.evolink.works.len() {
            self.evolink.go_on(at, 99, true);
            if !is_deaf && self.evolink.works[at].fate != Fate::Never {
                let id = self.evolink.works[at].submission;
                let said = self.evolink.tell(at);
                self.call_back(About::Submission(id), Said::Statement(said));
            }
        }
        self.deliver_all().await?;
        let to_be_found = self.to_be_found();
        for _ in 0..CALM_ROUNDS {
            self.machine.clock.advance(CALM_GAP);
            self.end_unanswered().await?;
            self.reconcile().await?;
            self.deliver_all().await?;
        }
        self.check_found(&to_be_found)?;
        self.check_the_end()
    }

    /// Unresolved tasks that will be polled again and have ended at EvoLink.
    fn to_be_found(&self) -> Vec<SubmissionId> {
        let works = self.evolink.works.iter();
        let ended = works
            .filter(|work| work.fate != Fate::Never && !self.lied_about.contains(&work.submission));
        let found = ended.filter(|work| {
            let record = self.look.find(&work.submission.to_string());
            record.is_some_and(|(record, _)| {
                let is_bound = record.task.as_ref() == Some(&work.id);
                is_bound && record.state == "unresolved" && record.is_due
            })
        });
        found.map(|work| work.submission).collect()
    }

    /// Checks that a task which EvoLink did not know for a while is found once EvoLink knows it
    /// again.
    fn check_found(&mut self, to_be_found: &[SubmissionId]) -> Checked {
        for id in to_be_found {
            let (record, _) = self.look.find(&id.to_string()).ok_or("a record is gone")?;
            if !record.has_ended() {
                return Err(format!("unresolved, and not found: {record:?}"));
            }
            self.count("unresolved tasks found");
        }
        Ok(())
    }

    async fn deliver_all(&mut self) -> Checked {
        for _ in 0..DELIVERIES_MAX {
            if self.air.is_empty() {
                return Ok(());
            }
            self.deliver().await?;
        }
        Err("the air does not clear".to_owned())
    }

    fn check_the_end(&mut self) -> Checked {
        for record in &self.look.content.records {
            if record.claim.is_some() {
                return Err(format!("a claim that nobody clears up: {record:?}"));
            }
            let may_stay =
                ["submit_unknown", "rejected", "unresolved"].contains(&record.state.as_str());
            if !record.has_ended() && !may_stay {
                return Err(format!("it never ends: {record:?}"));
            }
            if record.task.is_some() && !record.has_ended() && record.state != "unresolved" {
                return Err(format!("a task of EvoLink's without an end: {record:?}"));
            }
        }
        let honest = self.evolink.works.iter();
        let honest = honest.filter(|work| !self.lied_about.contains(&work.submission));
        for work in honest {
            let Some((record, _)) = self.look.find(&work.submission.to_string()) else {
                continue;
            };
            let was_given_up = self.was_given_up(work.submission);
            let is_right = match &record.task {
                None => record.state == "submit_unknown",
                Some(task) if *task != work.id => false,
                Some(_) => {
                    record.state == work.fate.state()
                        || record.state == "unresolved" && was_given_up
                }
            };
            if !is_right {
                return Err(format!("{work:?} became {record:?}"));
            }
        }
        self.check_the_truth()?;
        self.count("histories that ended well");
        Ok(())
    }
}
