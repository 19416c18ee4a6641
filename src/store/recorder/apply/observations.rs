//! Observations of a task, from EvoLink or from a caller with a valid callback URL. Each is applied
//! to its record or kept in quarantine.

use bytes::Bytes;
use http::HeaderMap;

use crate::domain::callback::Subject;
use crate::domain::event::EventType;
use crate::domain::ids::{SubmissionId, TaskId};
use crate::domain::observation::{Observation, Relation, Source};
use crate::domain::task::{Phase, Published, Seen, State, SubmitEnd, Task, Verdict};
use crate::store::quarantine::Kind;
use crate::store::recorder::entry::Receipt;
use crate::store::recorder::ledger::{
    Ledger, NewConflict, NewDoubt, NewEvent, NewObservation, Quarantined,
};
use crate::store::recorder::record::{Origin, Record};

/// Observations kept for one task. Those that move the task on are always kept (rule B8).
const OBSERVATIONS_KEPT: u16 = 200;

impl Record {
    /// Notes what EvoLink reserved for the task. The outcome settles it.
    fn settle(&mut self, seen: &Observation, done: Seen) {
        let is_settled = done.moved && self.task.state() == State::Completed;
        if done.verdict != Verdict::Conflict && (is_settled || self.credits.is_none()) {
            self.credits = seen.credits.or(self.credits);
        }
    }
}

impl Ledger {
    /// `first` is the source by which a replayed body originally came. For all other entries it
    /// equals `source`.
    pub fn observe(
        &mut self,
        subject: &Subject,
        seen: &Observation,
        source: Source,
        first: Source,
        headers: &HeaderMap,
    ) -> Receipt {
        let (index, restored) = match self.record_for(subject, &seen.task_id) {
            Ok(found) => found,
            Err(suspects) => return self.mismatch(subject, seen, source, headers, suspects),
        };
        let published = self.published_of(index, seen);
        let record = &mut self.records[index];
        let restored = restored || record.task.phase == Phase::Rejected;
        let before = record.task.clone();
        let (task, now, policy) = (&mut record.task, self.now, &self.policy);
        let done = task.see_beside(published.as_ref(), seen, source, first, now, policy);
        if before.task_id().is_none() {
            self.by_task.insert(seen.task_id.clone(), index);
        }
        let credits = record.credits;
        record.settle(seen, done);
        if record.task != before || record.credits != credits {
            self.touched.push(index);
        }
        let number = self.keep(index, seen, source, done);
        let event = done.event.map(|event_type| NewEvent {
            record: index,
            event_type,
            source: Some(source),
            observation: number,
        });
        if done.verdict == Verdict::Conflict {
            self.quarantined.push(Quarantined {
                subject: subject.clone(),
                kind: Kind::Conflict,
                source,
                reason: "another outcome than the recorded one".to_owned(),
                task_id: Some(seen.task_id.clone()),
                headers: headers.clone(),
                body: seen.raw.clone(),
                conflict: event.map(|event| NewConflict {
                    event,
                    doubted: done.doubted,
                }),
            });
        } else {
            self.events.extend(event);
            match done.event {
                Some(EventType::Completed) => self.complete_files(index, seen, number),
                Some(EventType::Updated) => self.update_files(index, published.as_ref(), seen),
                _ => {}
            }
            let doubted = done.doubted.map(|doubted| NewDoubt {
                record: index,
                doubted,
            });
            self.doubted.extend(doubted);
        }
        Receipt::Seen {
            verdict: done.verdict,
            restored,
        }
    }

    /// The published results of a completed task, if the observation has others. `None` also for a
    /// task with as many observations as are kept: the number of its updates must have a bound.
    fn published_of(&self, index: usize, seen: &Observation) -> Option<Published> {
        let record = &self.records[index];
        let digest = record.task.accepted()?.results_digest()?;
        if !seen.has_results() || seen.repeats(digest) || record.observations >= OBSERVATIONS_KEPT {
            return None;
        }
        let shown = record.shown?;
        let mut new = self.observations.iter();
        let new = new.find(|new| (new.record, new.number) == (index, shown));
        let body = new.map_or_else(|| self.published.get(&index), |new| Some(&new.body))?;
        Some(Published {
            observation: Observation::parse(body.clone()).ok()?,
            order: record.results_order.clone(),
        })
    }

    fn complete_files(&mut self, index: usize, seen: &Observation, number: Option<u16>) {
        if self.archives_files && !self.create_files(index, seen) {
            self.publish_archived_record(index, number);
        }
    }

    /// Numbers the results of an update, so that the published ones keep their numbers, and creates
    /// the files that are new.
    fn update_files(&mut self, index: usize, published: Option<&Published>, seen: &Observation) {
        let Some(published) = published else { return };
        if let Relation::More(order) = seen.relation_to(&published.observation, &published.order) {
            let known = published.observation.urls().count();
            if self.archives_files {
                self.create_more_files(index, seen, &order, known);
            }
            self.records[index].results_order = order;
        }
    }

    /// Returns the record that `subject` speaks for, if `task_id` may be its task. Otherwise
    /// returns the records about which the body raises a doubt (see `suspect`).
    fn record_for(
        &mut self,
        subject: &Subject,
        task_id: &TaskId,
    ) -> Result<(usize, bool), Vec<usize>> {
        let holder = self.by_task.get(task_id).copied();
        match subject {
            Subject::Submission(id) => match (self.by_submission.get(id).copied(), holder) {
                (Some(own), Some(holder)) if own == holder => Ok((own, false)),
                (Some(own), None) if self.records[own].task.task_id().is_none() => Ok((own, false)),
                (None, None) => {
                    let task = Task::new(*id);
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
                    let task = Task::new(SubmissionId::new(self.now));
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
            conflict: None,
        });
        Receipt::Mismatch
    }

    pub fn keep_unreadable(
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
            conflict: None,
        });
        Receipt::Done
    }

    /// Handles a body about this record that could not be believed. A callback or a replay
    /// schedules a poll. A poll counts as unsuccessful. The answer to a submit makes its outcome
    /// unknown.
    fn suspect(&mut self, index: usize, source: Source) {
        let task = &mut self.records[index].task;
        match source {
            Source::Submit => {
                task.end_submit(SubmitEnd::Unknown);
                self.submit_ends.push((index, SubmitEnd::Unknown));
            }
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

    /// Publishes a conflict, once for each body that is new to quarantine; quarantine bounds their
    /// number. EvoLink is polled about an unconfirmed outcome.
    pub fn publish_conflict(&mut self, new: NewConflict) {
        let NewConflict { event, doubted } = new;
        let record = event.record;
        if let Some(doubted) = doubted {
            let task = &mut self.records[record].task;
            task.claim_conflict(doubted.state, self.now, &self.policy.pace);
            self.touched.push(record);
            self.doubted.push(NewDoubt { record, doubted });
        }
        self.events.push(event);
    }
}
