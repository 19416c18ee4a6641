//! Polls: when one begins, how one ended without an observation, and when polling stops.

use std::time::Duration;

use crate::domain::event::EventType;
use crate::domain::ids::SubmissionId;
use crate::store::recorder::entry::{PollEnded, Receipt};
use crate::store::recorder::ledger::{Ledger, NewEvent};

impl Ledger {
    pub fn begin_poll(&mut self, id: SubmissionId, lease: Duration) -> Receipt {
        let index = self.by_submission.get(&id).copied();
        let Some(index) = index else {
            return Receipt::NotDue;
        };
        let task = &mut self.records[index].task;
        if !task.begin_poll(self.now, lease, &self.policy.pace) {
            return Receipt::NotDue;
        }
        self.touched.push(index);
        Receipt::Done
    }

    pub fn end_poll(&mut self, id: SubmissionId, ended: PollEnded) -> Receipt {
        let Some(&index) = self.by_submission.get(&id) else {
            return Receipt::Done;
        };
        let task = &mut self.records[index].task;
        let event = match ended {
            PollEnded::Gone => task.miss(self.now, &self.policy.pace),
            PollEnded::Failed => {
                task.asked_in_vain(self.now, &self.policy.pace);
                None
            }
            PollEnded::PutOff(pause) => {
                task.put_off(pause, self.now, &self.policy.pace);
                None
            }
        };
        self.changed(index, event);
        Receipt::Done
    }

    pub fn give_up(&mut self, id: SubmissionId) -> Receipt {
        let Some(&index) = self.by_submission.get(&id) else {
            return Receipt::Done;
        };
        let task = &mut self.records[index].task;
        // A new outcome may have been claimed since the reconciler read the task.
        if self.policy.pace.is_long_ago(task.asked_since(), self.now) {
            let event = task.give_up(self.now);
            self.changed(index, event);
        }
        Receipt::Done
    }

    fn changed(&mut self, index: usize, event: Option<EventType>) {
        self.touched.push(index);
        self.events.extend(event.map(|event_type| NewEvent {
            record: index,
            event_type,
            source: None,
            observation: None,
        }));
    }
}
