//! Submits: the intent, with or without an idempotency key, and an end without an observation.

use crate::domain::ids::SubmissionId;
use crate::domain::key_use::{Day, LimitReached};
use crate::domain::task::{Phase, SubmitEnd, Task};
use crate::store::recorder::entry::{Intent, Receipt, SubmitEnded};
use crate::store::recorder::ledger::Ledger;
use crate::store::recorder::record::{Origin, Record};
use crate::store::repeats::Judged;

impl Ledger {
    pub fn intend(&mut self, intent: &Intent) -> Receipt {
        if let Some(idempotency) = &intent.idempotency {
            if let Some((known, submission_id)) = self.keys.get(&idempotency.name) {
                let same = known.fingerprint == idempotency.fingerprint;
                return if same {
                    Receipt::Replay(*submission_id)
                } else {
                    Receipt::Clash
                };
            }
            if let Err(reached) = self.admit(intent) {
                return Receipt::LimitReached(reached);
            }
            let key = (idempotency.clone(), intent.submission_id);
            self.keys.insert(idempotency.name.clone(), key);
            self.keys_made.push(idempotency.name.clone());
        } else if let Some(guard) = &intent.guard {
            match self.unanswered.judge(intent.client_name(), guard) {
                Judged::New => {}
                Judged::Repeat { first, is_orphan } => {
                    return Receipt::Repeat { first, is_orphan };
                }
                Judged::Unsure => return Receipt::Unsure,
            }
            if let Err(reached) = self.admit(intent) {
                return Receipt::LimitReached(reached);
            }
            let (client, fingerprint) = (intent.client_name(), guard.fingerprint);
            self.unanswered
                .make(intent.submission_id, client, fingerprint);
        } else if let Err(reached) = self.admit(intent) {
            return Receipt::LimitReached(reached);
        }
        let mut task = Task::new(intent.submission_id);
        task.kind = Some(intent.kind);
        let mut record = Record::new(task, Origin::Submit, intent.client.clone());
        record.model = Some(intent.model.clone());
        record.reference.clone_from(&intent.reference);
        record.request = Some(intent.request.clone());
        record.callback_url.clone_from(&intent.callback_url);
        let index = self.add(record);
        self.touched.push(index);
        Receipt::Fresh
    }

    /// Compares a new submit with the limits of its API key. What it adds is written with its
    /// record; here it counts for the other submits of the batch.
    fn admit(&mut self, intent: &Intent) -> Result<(), LimitReached> {
        if !intent.limits.has_any() {
            return Ok(());
        }
        let at = intent.submission_id.made_at();
        let key = (intent.client_name().to_owned(), Day::of(at));
        let used = self.uses.entry(key).or_default();
        used.admit(&intent.limits, at)
    }

    pub fn end_submit(&mut self, id: SubmissionId, ended: &SubmitEnded) -> Receipt {
        let Some(&index) = self.by_submission.get(&id) else {
            return Receipt::Done;
        };
        let record = &mut self.records[index];
        match ended {
            SubmitEnded::Unknown => {
                // Also after a callback: the app was answered that the outcome is unknown.
                self.submit_ends.push((index, SubmitEnd::Unknown));
                record.task.end_submit(SubmitEnd::Unknown);
            }
            SubmitEnded::Refused {
                answer,
                idempotency,
            } => {
                self.submit_ends.push((index, SubmitEnd::Refused));
                record.task.end_submit(SubmitEnd::Refused);
                if record.task.phase != Phase::Rejected {
                    // The submit was accepted after all. If the key were freed, the app could pay
                    // for a second task.
                    return Receipt::Known;
                }
                record.refusal.clone_from(answer);
                self.unanswered.remove(id);
                if let Some(key) = idempotency {
                    self.free_key(&key.name, id);
                }
            }
        }
        self.touched.push(index);
        Receipt::Done
    }

    /// Frees the key only while this submission holds it. A refusal that is recorded twice must not
    /// free the key of the next attempt.
    fn free_key(&mut self, name: &str, id: SubmissionId) {
        if self.keys.get(name).is_some_and(|(_, holder)| *holder == id) {
            self.keys.remove(name);
            self.keys_made.retain(|made| made != name);
        }
        self.keys_freed.push((name.to_owned(), id));
    }
}
