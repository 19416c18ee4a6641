//! An event in the form that apps receive, and as a message of the stream.

use std::io::Write as _;

use bytes::Bytes;
use serde::Serialize;

use crate::domain::event::id::EventId;
use crate::domain::ids::{SubmissionId, TaskId};
use crate::domain::json::Fields;
use crate::domain::timestamp::Timestamp;
use crate::http::internal::tasks::history::task_of_event;
use crate::store::read::events::LoggedEvent;
use crate::store::tail::Frames;
use crate::task_object::TaskObjects;

/// An event as it appears in a page and in a message of the stream.
#[derive(Serialize)]
pub struct EventObject<'a> {
    id: EventId,
    seq: i64,
    r#type: &'static str,
    at: Timestamp,
    submission_id: SubmissionId,
    task_id: Option<&'a TaskId>,
    source: Option<&'static str>,
    task: Fields,
}

impl<'a> EventObject<'a> {
    pub fn of(objects: &TaskObjects, event: &'a LoggedEvent) -> Self {
        let task = &event.view.record.task;
        let (kind, source, body) = (event.event_type, event.source, event.body.as_ref());
        Self {
            id: event.id,
            seq: event.id.seq,
            r#type: kind.into_str(),
            at: event.at,
            submission_id: task.submission_id,
            task_id: task.task_id(),
            source: source.map(<&str>::from),
            task: task_of_event(objects, &event.view, kind, source, body, event.at),
        }
    }
}

/// Formats events as consecutive messages of the stream.
pub fn of_events<'a>(
    objects: &TaskObjects,
    events: impl IntoIterator<Item = &'a LoggedEvent>,
) -> Frames {
    let (mut text, mut ends) = (Vec::new(), Vec::new());
    for event in events {
        write_frame(&mut text, objects, event);
        ends.push(text.len());
    }
    Frames {
        bytes: Bytes::from(text),
        ends,
    }
}

/// A stream comment with the reader's position. No client takes a comment for an event. A separate
/// `id:` field would not do: programs that parse lines instead of messages would take it for a
/// repeated event.
pub fn of_place(place: EventId) -> Bytes {
    format!(": at {place}\n\n").into()
}

fn write_frame(text: &mut Vec<u8>, objects: &TaskObjects, event: &LoggedEvent) {
    let (id, kind) = (event.id, event.event_type.into_str());
    write!(text, "id: {id}\nevent: {kind}\ndata: ").expect("a Vec takes any bytes");
    let data = text.len();
    serde_json::to_writer(&mut *text, &EventObject::of(objects, event))
        .expect("our own types have a JSON form");
    // EvoLink's values are passed on unchanged and may span several lines, but a `data` field may
    // not. Replacing the line breaks is safe, because a JSON string cannot contain one.
    for byte in &mut text[data..] {
        if matches!(byte, b'\n' | b'\r') {
            *byte = b' ';
        }
    }
    text.extend_from_slice(b"\n\n");
}
