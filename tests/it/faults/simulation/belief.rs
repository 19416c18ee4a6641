//! Checks which outcomes the receiver may believe (`callbacks.confirm`), judged only by EvoLink's
//! state, without the model or the product.

use evolink_receiver::domain::ids::SubmissionId;
use evolink_receiver::domain::task::confirmation::Confirm;

use super::evolink::Work;
use super::kept::{Kept, LISTED, without_queries};
use super::run::{Checked, Run};

impl Run<'_> {
    /// Checks what the receiver believes after each call.
    pub fn check_belief(&mut self) -> Checked {
        let (mut was_claimed, mut was_contradicted) = (false, false);
        for record in &self.look.content.records {
            let is_claimed = record.claim.is_some();
            was_claimed |= is_claimed;
            was_contradicted |= is_claimed && record.has_ended();
            let broken = match self.confirm {
                Confirm::Never => record.claim.is_some().then_some("nothing is to be doubted"),
                Confirm::Suspicious => self.broken_suspicion(record),
                Confirm::Always => self.broken_certainty(record),
            };
            if let Some(broken) = broken {
                return Err(format!("{broken}: {record:?}"));
            }
        }
        if was_claimed {
            self.count("claims");
        }
        if was_contradicted {
            self.count("claims against an outcome");
        }
        Ok(())
    }

    /// The rule that is broken with `suspicious`, if any.
    fn broken_suspicion(&self, record: &Kept) -> Option<&'static str> {
        if !record.has_ended() || record.source.as_deref() != Some("callback") {
            return None;
        }
        if !record.is_vouched {
            return Some("a callback ended a task that EvoLink never named");
        }
        let shown = usize::try_from(record.shown?).unwrap();
        let body = &record.observations[shown].2;
        let mut readable = self.readable.iter();
        let (_, (_, said)) = readable.find(|((_, other), _)| other == body)?;
        let is_plain = said.is_documented();
        let is_listed = said.results.iter().all(|url| url.starts_with(LISTED));
        (!is_plain || !is_listed).then_some("an odd callback ended a task")
    }

    /// The rule that is broken with `always`, if any: whatever callbacks said, a task ends as it
    /// ended at EvoLink.
    fn broken_certainty(&self, record: &Kept) -> Option<&'static str> {
        if !record.has_ended() {
            return None;
        }
        if record.source.as_deref() == Some("callback") {
            return Some("a callback ended a task");
        }
        let task = record.task.as_ref()?;
        if self.misled.contains(task) {
            return None;
        }
        let Some(work) = self.work(task) else {
            return Some("a task ended that EvoLink does not know");
        };
        if !work.has_ended || record.state != work.fate.state() {
            return Some("a task ended as it did not at EvoLink");
        }
        let urls = without_queries(&work.results());
        (record.state == "completed" && record.results != urls)
            .then_some("a task has results that EvoLink never told")
    }

    /// At the end of a history that ends well, with `always`: a task that EvoLink knows has
    /// EvoLink's outcome.
    pub fn check_the_truth(&mut self) -> Checked {
        if self.confirm != Confirm::Always {
            return Ok(());
        }
        let mut confirmed = 0;
        for record in &self.look.content.records {
            let Some(task) = record
                .task
                .as_ref()
                .filter(|task| !self.misled.contains(*task))
            else {
                continue;
            };
            let id = record.submission.parse().unwrap();
            let wanted = self
                .work(task)
                .map_or("unresolved", |work| work.fate.state());
            let may_be_open = record.state == "unresolved" && self.was_given_up(id);
            if record.state != wanted && !may_be_open {
                return Err(format!("{wanted} at EvoLink became {record:?}"));
            }
            confirmed += u64::from(record.has_ended());
        }
        *self.tally.entry("outcomes of EvoLink's own").or_default() += confirmed;
        Ok(())
    }

    /// Whether the receiver stopped polling before the faults stopped.
    pub fn was_given_up(&self, id: SubmissionId) -> bool {
        let was_gone = self.gone.get(&id).is_some_and(|gone| *gone >= 3);
        was_gone || self.given_up.contains(&id)
    }

    fn work(&self, task: &str) -> Option<&Work> {
        self.evolink.works.iter().find(|work| work.id == task)
    }
}
