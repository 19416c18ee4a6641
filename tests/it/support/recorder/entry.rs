//! What the recorder gets from callbacks with a standing URL.

use std::time::Duration;

use bytes::Bytes;
use evolink_receiver::domain::callback::Subject;
use evolink_receiver::domain::observation::{Observation, Source};
use evolink_receiver::domain::task::polling::Pace;
use evolink_receiver::store::recorder::entry::Entry;
use http::HeaderMap;

pub const PACE: Pace = Pace {
    first_poll_after: Duration::from_secs(15),
    interval_min: Duration::from_secs(3),
    give_up_after: Duration::from_hours(1),
};

/// A callback that reports progress. Its body contains `word`.
pub fn entry(task_id: &str, word: &str) -> Entry {
    let body =
        format!(r#"{{"id":"{task_id}","status":"processing","progress":10,"word":"{word}"}}"#);
    Entry::Observed {
        subject: Subject::Standing("bench".parse().unwrap()),
        observation: Observation::parse(Bytes::from(body)).unwrap(),
        source: Source::Callback,
        headers: HeaderMap::new(),
    }
}

/// The outcome of a task, as its callback reports it.
pub fn completed(task_id: &str) -> Entry {
    let body = format!(
        r#"{{"id":"{task_id}","status":"completed","progress":100,"results":["https://files.evolink.ai/0.webp"]}}"#
    );
    Entry::Observed {
        subject: Subject::Standing("bench".parse().unwrap()),
        observation: Observation::parse(Bytes::from(body)).unwrap(),
        source: Source::Callback,
        headers: HeaderMap::new(),
    }
}
