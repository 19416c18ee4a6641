//! The story of a task: what was observed, when, how it reached us, and which events it caused.

use crate::domain::event::EventType;
use crate::domain::observation::{Observation, Source};
use crate::domain::task::SubmitEnd;
use crate::domain::timestamp::Timestamp;
use crate::http::dashboard::text::{Moment, latency, pretty};
use crate::store::read::TaskView;
use crate::store::read::history::{HistoryItem, HistoryKind};
use crate::store::recorder::record::Origin;

/// The most steps that a page shows. The API has all of them.
const STEPS_MAX: usize = 200;

/// One step of the story.
#[derive(Debug)]
pub struct Step {
    pub title: String,
    pub result: String,
    pub tone: &'static str,
    /// What EvoLink said, in short.
    pub detail: String,
    pub at: Moment,
    /// Since the submit. `None` if we did not submit the task.
    pub after: Option<String>,
    /// Since the step before.
    pub gap: Option<String>,
    /// The body that EvoLink sent.
    pub body: Option<String>,
    /// An event is what apps receive; everything else is what happened here.
    pub is_event: bool,
    pub is_quarantined: bool,
}

pub fn of(history: &[HistoryItem], view: &TaskView, now: Timestamp) -> Vec<Step> {
    let submitted_at = view.record.task.submitted_at;
    let is_ours = view.record.origin != Origin::Standing;
    let mut before = None;
    let mut steps = Vec::new();
    for item in history.iter().take(STEPS_MAX) {
        let since = |earlier: Timestamp| item.at.as_millis() - earlier.as_millis();
        let mut step = step(item, now);
        step.after = is_ours.then(|| latency(since(submitted_at)));
        step.gap = before.map(since).filter(|gap| *gap > 0).map(latency);
        before = Some(item.at);
        steps.push(step);
    }
    steps
}

fn step(item: &HistoryItem, now: Timestamp) -> Step {
    let plain = |title: String, result: &str, tone| Step {
        title,
        result: result.to_owned(),
        tone,
        detail: String::new(),
        at: Moment::new(item.at, now),
        after: None,
        gap: None,
        body: None,
        is_event: false,
        is_quarantined: false,
    };
    match &item.kind {
        HistoryKind::SubmitBegun => plain("Submit sent to EvoLink".to_owned(), "", "plain"),
        HistoryKind::SubmitEnded(SubmitEnd::Refused) => {
            plain("EvoLink refused the submit".to_owned(), "refused", "bad")
        }
        HistoryKind::SubmitEnded(SubmitEnd::Unknown) => plain(
            "The outcome of the submit is unknown".to_owned(),
            "unknown",
            "warn",
        ),
        HistoryKind::Event { id, event_type, .. } => Step {
            detail: id.to_string(),
            is_event: true,
            ..plain(
                format!("Event {}", event_type.into_str()),
                "",
                event_tone(*event_type),
            )
        },
        HistoryKind::Observation {
            nth,
            source,
            result,
            body,
            quarantine_id,
            ..
        } => {
            let title = match source {
                Source::Submit => "EvoLink answered the submit".to_owned(),
                Source::Callback => format!("Callback {nth}"),
                Source::Poll => format!("Poll {nth}"),
                Source::Replay => format!("Replay {nth}"),
            };
            let tone = match result.as_str() {
                "recorded" => "good",
                "conflict" => "bad",
                _ => "plain",
            };
            Step {
                detail: said(body.clone()),
                body: Some(pretty(body)),
                is_quarantined: quarantine_id.is_some(),
                ..plain(title, result, tone)
            }
        }
        HistoryKind::Quarantined(entry) => Step {
            detail: entry.reason.clone(),
            is_quarantined: true,
            ..plain(
                "A callback that could not be applied".to_owned(),
                entry.kind.into_str(),
                "bad",
            )
        },
    }
}

/// What a body says, in a few words.
fn said(body: bytes::Bytes) -> String {
    let Ok(seen) = Observation::parse(body) else {
        return String::new();
    };
    let mut words = vec![seen.status.as_str().to_owned()];
    words.extend(seen.progress.map(|progress| format!("{progress} %")));
    let files = seen.urls().count();
    if files > 0 {
        let plural = if files == 1 { "" } else { "s" };
        words.push(format!("{files} file{plural}"));
    }
    words.extend(seen.error_message());
    words.join(" · ")
}

const fn event_tone(event_type: EventType) -> &'static str {
    match event_type {
        EventType::Completed | EventType::Updated | EventType::Archived => "good",
        EventType::Failed | EventType::Conflict => "bad",
        EventType::Unresolved => "warn",
        EventType::Submitted | EventType::Processing | EventType::Cancelled => "plain",
    }
}
