//! Callbacks in quarantine, and what to do about each.

use crate::domain::callback::Subject;
use crate::domain::timestamp::Timestamp;
use crate::http::dashboard::text::{Moment, size};
use crate::store::quarantine::{Kind, QuarantineEntry};

/// One entry.
#[derive(Debug)]
pub struct ShownEntry {
    pub id: i64,
    pub kind: &'static str,
    pub tone: &'static str,
    pub reason: String,
    /// The label of a shared callback URL, or the submission id.
    pub subject: String,
    /// The page of the task that it was sent to, if there is one.
    pub task: Option<String>,
    pub last: Moment,
    pub repeats: i64,
    pub size: String,
    pub replayed: Option<(&'static str, Moment)>,
    pub advice: &'static str,
}

impl ShownEntry {
    pub fn new(entry: &QuarantineEntry, now: Timestamp) -> Self {
        Self {
            id: entry.id,
            kind: entry.kind.into_str(),
            tone: if entry.replayed.is_some() {
                "plain"
            } else {
                "bad"
            },
            reason: entry.reason.clone(),
            subject: entry.subject.to_string(),
            task: match &entry.subject {
                Subject::Submission(id) => Some(id.to_string()),
                Subject::Standing(_) => entry.task_id.as_ref().map(ToString::to_string),
            },
            last: Moment::new(entry.last_at, now),
            repeats: entry.repeats,
            size: size(u64::try_from(entry.bytes).unwrap_or_default()),
            replayed: entry
                .replayed
                .map(|(at, result)| (result.into_str(), Moment::new(at, now))),
            advice: advice(entry.kind),
        }
    }
}

const fn advice(kind: Kind) -> &'static str {
    match kind {
        Kind::Unreadable => {
            "The body is no task. The task itself is polled. Replay it after an update that \
             reads such bodies."
        }
        Kind::Mismatch => {
            "The body names another task than its callback URL is for. Replay it if you know \
             that it is right; otherwise leave it."
        }
        Kind::Conflict => {
            "It reports another outcome than the recorded one, which stays. Compare the two, and \
             ask EvoLink which is right."
        }
    }
}
