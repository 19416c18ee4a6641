//! What each entry of a batch does to the ledger: the domain's rules, applied in turn.

use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;

use super::entry::{Entry, Intent, PollEnded, Receipt, SubmitEnd, SubmitEnded};
use super::ledger::{Ledger, NewDoubt, NewEvent, NewObservation, Quarantined};
use super::quarantine::Kind;
use super::record::{Origin, Record};
use crate::domain::callback_token::Subject;
use crate::domain::event::EventType;
use crate::domain::ids::{SubmissionId, TaskId};
use crate::domain::observation::{Observation, Source};
use crate::domain::task::{Seen, State, Task, Verdict};

/// Observations that are kept of one task; those that move it are always kept (rule B8).
const OBSERVATIONS_KEPT: u16 = 200;

impl Ledger {
    pub fn apply(&mut self, entry: &Entry) -> Receipt {
        match entry {
            Entry::Intent(intent) => self.intend(intent),
            Entry::Observed {
                subject,
                observation,
                source,
                headers,
            } => self.observe(subject, observation, *source, headers),
            Entry::Unreadable {
                subject,
                source,
                body,
                reason,
                headers,
            } => self.keep_unreadable(subject, *source, body, reason, headers),
            Entry::FromQuarantine {
                id,
                subject,
                observation,
            } => self.replay(*id, subject, observation),
            Entry::SubmitEnded {
                submission_id,
                ended,
            } => self.end_submit(*submission_id, ended),
            Entry::PollBegun {
                submission_id,
                lease,
            } => self.begin_poll(*submission_id, *lease),
            Entry::PollEnded {
                submission_id,
                ended,
            } => self.end_poll(*submission_id, *ended),
            Entry::GaveUp { submission_id } => self.give_up(*submission_id),
        }
    }

    fn intend(&mut self, intent: &Intent) -> Receipt {
        if let Some(idempotency) = &intent.idempotency {
            if let Some((known, submission_id)) = self.keys.get(&idempotency.name) {
                let same = known.fingerprint == idempotency.fingerprint;
                return if same {
                    Receipt::Replay(*submission_id)
                } else {
                    Receipt::Clash
                };
            }
            let key = (idempotency.clone(), intent.submission_id);
            self.keys.insert(idempotency.name.clone(), key);
            self.keys_made.push(idempotency.name.clone());
        }
        let task = Task::new(intent.submission_id, State::Submitting);
        let mut record = Record::new(task, Origin::Submit, intent.client.clone());
        record.request = Some(intent.request.clone());
        let index = self.add(record);
        self.touched.push(index);
        Receipt::Fresh
    }

    pub(super) fn observe(
        &mut self,
        subject: &Subject,
        seen: &Observation,
        source: Source,
        headers: &HeaderMap,
    ) -> Receipt {
        let (index, restored) = match self.record_for(subject, &seen.task_id) {
            Ok(found) => found,
            Err(suspects) => return self.mismatch(subject, seen, source, headers, suspects),
        };
        let record = &mut self.records[index];
        let restored = restored || record.task.state == State::Rejected;
        let before = record.task.clone();
        let done = record.task.see(seen, source, self.now, &self.policy);
        if before.task_id.is_none() {
            self.by_task.insert(seen.task_id.clone(), index);
        }
        if record.task != before {
            self.touched.push(index);
        }
        let is_conflict = done.verdict == Verdict::Conflict;
        let doubted = done.doubted.filter(|_| !is_conflict);
        self.doubted.extend(doubted.map(|doubted| NewDoubt {
            record: index,
            doubted,
        }));
        let number = self.keep(index, seen, source, done);
        let event = done.event.map(|event_type| NewEvent {
            record: index,
            event_type,
            source: Some(source),
            observation: number,
            doubted: done.doubted,
        });
        if is_conflict {
            self.quarantined.push(Quarantined {
                subject: subject.clone(),
                kind: Kind::Conflict,
                source,
                reason: "another outcome than the recorded one".to_owned(),
                task_id: Some(seen.task_id.clone()),
                headers: headers.clone(),
                body: seen.raw.clone(),
                event,
            });
        } else {
            self.events.extend(event);
        }
        Receipt::Seen {
            verdict: done.verdict,
            restored,
        }
    }

    /// The record that `subject` speaks for, if `task_id` may be its task. Otherwise those that deserve a second look.
    fn record_for(
        &mut self,
        subject: &Subject,
        task_id: &TaskId,
    ) -> Result<(usize, bool), Vec<usize>> {
        let holder = self.by_task.get(task_id).copied();
        match subject {
            Subject::Submission(id) => match (self.by_submission.get(id).copied(), holder) {
                (Some(own), Some(holder)) if own == holder => Ok((own, false)),
                (Some(own), None) if self.records[own].task.task_id.is_none() => Ok((own, false)),
                (None, None) => {
                    let task = Task::new(*id, State::Submitting);
                    Ok((self.add(Record::new(task, Origin::Restored, None)), true))
                }
                (own, _) => Err(own.into_iter().collect()),
            },
            Subject::Standing(label) => match holder {
                Some(holder) if self.records[holder].origin == Origin::Standing => {
                    Ok((holder, false))
                }
                Some(holder) => Err(vec![holder]),
                None => {
                    let task = Task::new(SubmissionId::new(self.now), State::Submitting);
                    Ok((
                        self.add(Record::new(task, Origin::Standing, Some(label.to_string()))),
                        false,
                    ))
                }
            },
        }
    }

    fn mismatch(
        &mut self,
        subject: &Subject,
        seen: &Observation,
        source: Source,
        headers: &HeaderMap,
        suspects: Vec<usize>,
    ) -> Receipt {
        for index in suspects {
            self.suspect(index, source);
        }
        self.quarantined.push(Quarantined {
            subject: subject.clone(),
            kind: Kind::Mismatch,
            source,
            reason: "about another task than its URL is for".to_owned(),
            task_id: Some(seen.task_id.clone()),
            headers: headers.clone(),
            body: seen.raw.clone(),
            event: None,
        });
        Receipt::Mismatch
    }

    fn keep_unreadable(
        &mut self,
        subject: &Subject,
        source: Source,
        body: &Bytes,
        reason: &str,
        headers: &HeaderMap,
    ) -> Receipt {
        if let Subject::Submission(id) = subject
            && let Some(&index) = self.by_submission.get(id)
        {
            self.suspect(index, source);
        }
        self.quarantined.push(Quarantined {
            subject: subject.clone(),
            kind: Kind::Unreadable,
            source,
            reason: reason.to_owned(),
            task_id: None,
            headers: headers.clone(),
            body: body.clone(),
            event: None,
        });
        Receipt::Done
    }

    /// Somebody spoke for this record and could not be believed: EvoLink is asked, unless it was EvoLink's own answer.
    fn suspect(&mut self, index: usize, source: Source) {
        let task = &mut self.records[index].task;
        match source {
            Source::Submit => task.end_submit(State::SubmitUnknown),
            Source::Poll => task.asked_in_vain(self.now, &self.policy.pace),
            Source::Callback | Source::Replay => task.ask_soon(self.now, &self.policy.pace),
        }
        self.touched.push(index);
    }

    fn keep(
        &mut self,
        index: usize,
        seen: &Observation,
        source: Source,
        done: Seen,
    ) -> Option<u16> {
        let record = &mut self.records[index];
        let number = record.observations;
        if number >= OBSERVATIONS_KEPT && !done.moved {
            return None;
        }
        record.observations += 1;
        self.counted.push(index);
        if done.shown {
            record.shown = Some(number);
            self.touched.push(index);
        }
        self.observations.push(NewObservation {
            record: index,
            number,
            source,
            verdict: done.verdict,
            body: seen.raw.clone(),
        });
        Some(number)
    }

    fn end_submit(&mut self, id: SubmissionId, ended: &SubmitEnded) -> Receipt {
        let Some(&index) = self.by_submission.get(&id) else {
            return Receipt::Done;
        };
        let record = &mut self.records[index];
        match ended {
            SubmitEnded::Unknown => {
                record.task.end_submit(State::SubmitUnknown);
                self.submit_ends.push((index, SubmitEnd::Unknown));
            }
            SubmitEnded::Refused {
                answer,
                idempotency,
            } => {
                self.submit_ends.push((index, SubmitEnd::Refused));
                record.task.end_submit(State::Rejected);
                if record.task.state != State::Rejected {
                    // To free the key would be to have the app pay for a second task.
                    return Receipt::Known;
                }
                record.refusal.clone_from(answer);
                if let Some(key) = idempotency {
                    self.free_key(&key.name, id);
                }
            }
        }
        self.touched.push(index);
        Receipt::Done
    }

    /// Only while it is this submission's: told a second time, a refusal must not free the key of the next try.
    fn free_key(&mut self, name: &str, id: SubmissionId) {
        if self.keys.get(name).is_some_and(|(_, holder)| *holder == id) {
            self.keys.remove(name);
            self.keys_made.retain(|made| made != name);
        }
        self.keys_freed.push((name.to_owned(), id));
    }

    fn begin_poll(&mut self, id: SubmissionId, lease: Duration) -> Receipt {
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

    fn end_poll(&mut self, id: SubmissionId, ended: PollEnded) -> Receipt {
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

    fn give_up(&mut self, id: SubmissionId) -> Receipt {
        let Some(&index) = self.by_submission.get(&id) else {
            return Receipt::Done;
        };
        let task = &mut self.records[index].task;
        // Something may have been claimed since the reconciler looked.
        if self.policy.pace.is_long_ago(task.asked_since(), self.now) {
            let event = task.give_up(self.now);
            self.changed(index, event);
        }
        Receipt::Done
    }

    /// `told` are the conflicts that are new to quarantine, which bounds them: EvoLink is asked once about each that came by
    /// callback.
    pub(super) fn tell_of_conflicts(&mut self, told: Vec<NewEvent>) {
        for event in &told {
            let Some(doubted) = event.doubted else {
                continue;
            };
            let record = event.record;
            let task = &mut self.records[record].task;
            task.claim_conflict(doubted.state, self.now, &self.policy.pace);
            self.touched.push(record);
            self.doubted.push(NewDoubt { record, doubted });
        }
        self.events.extend(told);
    }

    fn changed(&mut self, index: usize, event: Option<EventType>) {
        self.touched.push(index);
        self.events.extend(event.map(|event_type| NewEvent {
            record: index,
            event_type,
            source: None,
            observation: None,
            doubted: None,
        }));
    }
}
