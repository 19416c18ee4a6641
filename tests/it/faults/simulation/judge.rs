//! Judges each call: whether its answer and the store's content are allowed by the model and the
//! laws.

use std::collections::BTreeSet;

use super::guard::without_old;
use super::look::Look;
use super::machine::Told;
use super::mishap::Mishap;
use super::model::Model;
use super::run::{Checked, Run};
use super::statement::Call;

impl Run<'_> {
    /// Fails if an answer was wrong, or if the store holds what it may not. Calls without an answer
    /// may be stored or not.
    pub async fn judge(&mut self, calls: &[Call], told: &[Told], mishap: Mishap) -> Checked {
        let now = self.machine.now();
        let (whole, one_by_one) = (self.model.clone(), self.model.clone());
        let mut allowed = vec![(whole, false)];
        // A batch that is refused is recorded again, with each entry as a batch of its own.
        if matches!(mishap, Mishap::Refusal { .. }) && calls.len() > 1 {
            allowed.push((one_by_one, true));
        }
        for (call, told) in calls.iter().zip(told) {
            if told.is_err() && mishap == Mishap::None {
                return Err(format!("{call:?} was refused without a cause: {told:?}"));
            }
            self.count(if told.is_ok() { "told" } else { "told nothing" });
            let mut next = Vec::new();
            let mut wanted = Vec::new();
            for (model, is_alone) in allowed {
                for (mut after, receipt) in model.apply_each(call, now) {
                    if is_alone {
                        after.end_batch();
                    }
                    if told.is_err() || told.as_ref().is_ok_and(|told| *told == receipt) {
                        next.push((after, is_alone));
                    } else {
                        wanted.push(receipt);
                    }
                }
                if told.is_err() {
                    next.push((model, is_alone));
                }
            }
            if next.is_empty() {
                return Err(format!("{call:?} was told {told:?} instead of {wanted:?}"));
            }
            allowed = next;
        }
        let look = Look::at(&self.machine.eye, &self.start).await;
        let mut spoken_of = BTreeSet::new();
        for call in calls {
            spoken_of.extend(call.submission().map(|id| id.to_string()));
            spoken_of.extend(call.standing_task().map(str::to_owned));
        }
        if let Some(broken) = look.broken_since(&self.look, &spoken_of) {
            return Err(broken);
        }
        self.look = look;
        self.check_belief()?;
        self.check_event_ids()?;
        let mut allowed: Vec<Model> = allowed.into_iter().map(|(model, _)| model).collect();
        allowed.iter_mut().for_each(Model::end_batch);
        self.settle_for(allowed)
    }

    /// Selects, of all states that the model allows, the one that the store has.
    pub fn settle_for(&mut self, mut allowed: Vec<Model>) -> Checked {
        let now = self.machine.now();
        let unanswered = &mut self.look.content.unanswered;
        *unanswered = without_old(unanswered, now);
        for model in &mut allowed {
            model.learn(&self.look);
            model.content.unanswered = without_old(&model.content.unanswered, now);
        }
        let found = allowed
            .iter()
            .position(|model| model.content == self.look.content);
        let Some(found) = found else {
            let differences = allowed
                .iter()
                .map(|model| model.content.difference(&self.look.content));
            let differences: Vec<String> = differences.collect();
            return Err(format!(
                "the store is nothing that the model allows: {}",
                differences.join("\nor: ")
            ));
        };
        if allowed.len() > 1 {
            self.count(if found == 0 {
                "unknown, and all there"
            } else {
                "unknown, and not all there"
            });
        }
        self.model = allowed.swap_remove(found);
        Ok(())
    }
}
