//! An event in the form that apps receive, and as a message of the stream.

use std::io::Write as _;

use bytes::Bytes;
use serde::Serialize;

use crate::domain::event::id::EventId;
use crate::domain::ids::{SubmissionId, TaskId};
use crate::domain::json::Fields;
use crate::domain::timestamp::Timestamp;
use crate::store::read::events::LoggedEvent;
use crate::store::tail::Frames;
use crate::task_object::TaskObjects;
use crate::task_object::history::task_of_event;

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

/// A stream comment with the reader's position. No client takes a comment for an event. It has no
/// blank line of its own, which widely used clients take for an empty event. A separate `id:` field
/// would not do: programs that parse lines instead of messages would take it for a repeated event.
pub fn of_place(place: EventId) -> Bytes {
    format!(": at {place}\n").into()
}

fn write_frame(text: &mut Vec<u8>, objects: &TaskObjects, event: &LoggedEvent) {
    let (id, kind) = (event.id, event.event_type.into_str());
    write!(text, "id: {id}\nevent: {kind}\ndata: ").expect("a Vec takes any bytes");
    let data = serde_json::to_vec(&EventObject::of(objects, event))
        .expect("our own types have a JSON form");
    push_one_line(text, &data);
    text.extend_from_slice(b"\n\n");
}

/// Appends JSON as one line. EvoLink's values are passed on unchanged and may span several lines,
/// but a `data` field may not. JSON has CR and LF only between its values, where a blank means the
/// same, and the other line ends of Unicode only in strings, where the escape means the same.
fn push_one_line(text: &mut Vec<u8>, json: &[u8]) {
    let mut rest = json;
    let may_end_a_line = |byte: &u8| matches!(byte, b'\n' | b'\r' | 0xC2 | 0xE2);
    while let Some(at) = rest.iter().position(may_end_a_line) {
        let (before, from) = rest.split_at(at);
        text.extend_from_slice(before);
        let (written, length): (&[u8], _) = match from {
            [b'\n' | b'\r', ..] => (b" ", 1),
            [0xC2, 0x85, ..] => (b"\\u0085", 2),
            [0xE2, 0x80, 0xA8, ..] => (b"\\u2028", 3),
            [0xE2, 0x80, 0xA9, ..] => (b"\\u2029", 3),
            _ => (&from[..1], 1),
        };
        text.extend_from_slice(written);
        rest = &from[length..];
    }
    text.extend_from_slice(rest);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn one_line(json: &str) -> String {
        let mut text = Vec::new();
        push_one_line(&mut text, json.as_bytes());
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn every_line_end_is_replaced_and_nothing_else() {
        let json = "{\r\n \"a\u{85}\": \"\u{2028}\u{2029}é日本\u{2027}\"}";
        let expected = "{   \"a\\u0085\": \"\\u2028\\u2029é日本\u{2027}\"}";
        assert_eq!(one_line(json), expected);
    }

    proptest! {
        #[test]
        fn the_value_stays_the_same(text in any::<String>()) {
            let json = serde_json::to_string(&text).unwrap();
            let line = one_line(&json);
            let has_line_end = line.contains(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}']);
            prop_assert!(!has_line_end, "{line:?}");
            prop_assert_eq!(serde_json::from_str::<Value>(&line).unwrap(), Value::String(text));
        }
    }
}
