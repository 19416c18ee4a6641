//! The history of a task in the form that apps receive: everything that is known of it, how it
//! reached us, and when. Answers have it, and exports.

use bytes::Bytes;
use serde::Serialize;

use super::TaskObjects;
use crate::domain::event::EventType;
use crate::domain::event::id::EventId;
use crate::domain::ids::{SubmissionId, TaskId};
use crate::domain::json::Fields;
use crate::domain::observation::{Observation, Source};
use crate::domain::task::{Accepted, SubmitEnd};
use crate::domain::timestamp::Timestamp;
use crate::store::quarantine::QuarantineEntry;
use crate::store::read::TaskView;
use crate::store::read::history::{HistoryItem, HistoryKind};
use crate::store::recorder::record::Origin;

/// An item of the history in the form that apps receive.
#[derive(Serialize)]
pub struct HistoryObject<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<EventId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<i64>,
    r#type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    n: Option<i64>,
    at: Timestamp,
    /// Milliseconds since the submit. `None` if we did not submit the task: then that time is
    /// unknown.
    after_ms: Option<i64>,
    submission_id: SubmissionId,
    task_id: Option<&'a TaskId>,
    source: Option<&'a str>,
    #[serde(flatten)]
    told: Told<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Told<'a> {
    Event {
        task: Fields,
    },
    Observation {
        /// Number among the kept observations from the same source, counted from 1.
        nth: usize,
        result: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        bound: Option<Bound>,
        #[serde(skip_serializing_if = "Option::is_none")]
        quarantine_id: Option<i64>,
        body: Option<Fields>,
    },
    Submit {
        result: &'a str,
    },
    Quarantine {
        result: &'a str,
        quarantine_id: i64,
        /// The subject of the callback URL that the body was sent to.
        subject: String,
        reason: &'a str,
        repeats: i64,
        last_at: Timestamp,
        #[serde(flatten)]
        mark: Mark,
    },
}

/// How the observation that brought the task id came to bind it to the submission.
#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
enum Bound {
    /// It is EvoLink's answer to the submit.
    Answered,
    /// It came before that answer, or there was no answer.
    Adopted,
    /// The submit had been considered refused.
    Revived,
    /// The record of the submission no longer existed.
    Restored,
    /// It came through a standing callback URL.
    TakenIn,
}

impl Bound {
    const fn by(source: Source, origin: Origin, was_refused: bool) -> Self {
        match (origin, source) {
            (Origin::Standing, _) => Self::TakenIn,
            (Origin::Restored, _) => Self::Restored,
            (Origin::Submit, Source::Submit) => Self::Answered,
            (Origin::Submit, _) if was_refused => Self::Revived,
            (Origin::Submit, Source::Callback | Source::Poll | Source::Replay) => Self::Adopted,
        }
    }
}

/// The task whose history is shown.
pub struct History {
    objects: TaskObjects,
    pub view: TaskView,
    /// Whether the submit was refused at first.
    was_refused: bool,
}

/// When an entry of the quarantine was replayed, and with what result.
#[derive(Debug, Serialize)]
pub struct Mark {
    replayed_at: Option<Timestamp>,
    replay_result: Option<&'static str>,
}

impl Mark {
    pub fn of(entry: &QuarantineEntry) -> Self {
        let (replayed_at, result) = entry.replayed.unzip();
        Self {
            replayed_at,
            replay_result: result.map(<&str>::from),
        }
    }
}

impl History {
    /// `items` are those of the history of `view`.
    pub fn new(objects: TaskObjects, view: TaskView, items: &[HistoryItem]) -> Self {
        let is_refusal =
            |item: &HistoryItem| matches!(item.kind, HistoryKind::SubmitEnded(SubmitEnd::Refused));
        Self {
            objects,
            view,
            was_refused: items.iter().any(is_refusal),
        }
    }

    /// Returns an item in the form that apps receive.
    pub fn shown<'a>(&'a self, item: &'a HistoryItem) -> HistoryObject<'a> {
        let (task, origin) = (&self.view.record.task, self.view.record.origin);
        let since_submit = item
            .at
            .as_millis()
            .saturating_sub(task.submitted_at.as_millis());
        let (id, n) = match item.kind {
            HistoryKind::Event { id, .. } => (Some(id), None),
            HistoryKind::Observation { number, .. } => (None, Some(number)),
            _ => (None, None),
        };
        let (r#type, source) = match &item.kind {
            HistoryKind::Event {
                event_type, source, ..
            } => (event_type.into_str(), *source),
            HistoryKind::Observation { source, .. } => ("observation", Some(*source)),
            HistoryKind::SubmitBegun | HistoryKind::SubmitEnded(_) => {
                ("submit", Some(Source::Submit))
            }
            HistoryKind::Quarantined(entry) => ("quarantine", Some(entry.source)),
        };
        HistoryObject {
            id,
            seq: id.map(|id| id.seq),
            r#type,
            n,
            at: item.at,
            after_ms: (origin != Origin::Standing).then_some(since_submit),
            submission_id: task.submission_id,
            task_id: task.task_id(),
            source: source.map(<&str>::from),
            told: self.told(item),
        }
    }

    fn told<'a>(&'a self, item: &'a HistoryItem) -> Told<'a> {
        let (view, was_refused) = (&self.view, self.was_refused);
        match &item.kind {
            HistoryKind::Event {
                event_type,
                source,
                body,
                ..
            } => Told::Event {
                task: task_of_event(
                    &self.objects,
                    view,
                    *event_type,
                    *source,
                    body.as_ref(),
                    item.at,
                ),
            },
            HistoryKind::Observation {
                number,
                nth,
                source,
                result,
                quarantine_id,
                body,
            } => Told::Observation {
                nth: *nth,
                result,
                bound: (*number == 0).then(|| Bound::by(*source, view.record.origin, was_refused)),
                quarantine_id: *quarantine_id,
                body: Observation::parse(body.clone())
                    .ok()
                    .map(Observation::into_fields),
            },
            HistoryKind::SubmitBegun => Told::Submit { result: "begun" },
            HistoryKind::SubmitEnded(end) => Told::Submit {
                result: end.into_str(),
            },
            HistoryKind::Quarantined(entry) => told_of_quarantine(entry),
        }
    }
}

fn told_of_quarantine(entry: &QuarantineEntry) -> Told<'_> {
    Told::Quarantine {
        result: entry.kind.into_str(),
        quarantine_id: entry.id,
        subject: entry.subject.to_string(),
        reason: &entry.reason,
        repeats: entry.repeats,
        last_at: entry.last_at,
        mark: Mark::of(entry),
    }
}

/// The task as it was when the event occurred. Some events report no new state of EvoLink's and
/// show the recorded task instead. Examples are a conflict, whose body is in its observation, and
/// our giving up.
pub fn task_of_event(
    objects: &TaskObjects,
    view: &TaskView,
    event_type: EventType,
    source: Option<Source>,
    body: Option<&Bytes>,
    at: Timestamp,
) -> Fields {
    match (event_type, source, body) {
        (EventType::Conflict | EventType::Unresolved | EventType::Archived, ..)
        | (_, None, _)
        | (_, _, None) => objects.of_view(view),
        (EventType::Submitted, Some(source), Some(body)) => {
            objects.as_adopted_by(view, body, source, at)
        }
        // The outcome is as old as before.
        (EventType::Updated, Some(source), Some(body)) => {
            let outcome_at = view.record.task.accepted().and_then(Accepted::outcome_at);
            objects.as_told_by(view, body, source, outcome_at.unwrap_or(at))
        }
        (_, Some(source), Some(body)) => objects.as_told_by(view, body, source, at),
    }
}
