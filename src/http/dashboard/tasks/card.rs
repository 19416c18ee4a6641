//! One task in the list.

use crate::domain::json::Fields;
use crate::domain::observation::Observation;
use crate::domain::result_file::FileState;
use crate::domain::task::{Accepted, State};
use crate::domain::timestamp::Timestamp;
use crate::evolink::ErrorEnvelope;
use crate::http::dashboard::text::{
    Moment, beginning, kind_label, source_label, span, state_label, tone,
};
use crate::store::read::TaskView;

/// A longer prompt is cut in the list.
const PROMPT_CHARACTERS_MAX: usize = 240;
const ERROR_CHARACTERS_MAX: usize = 160;

/// One task in the list, as text.
#[derive(Debug)]
pub struct Card {
    pub submission_id: String,
    pub task_id: Option<String>,
    pub prompt: String,
    pub state: &'static str,
    pub label: &'static str,
    pub tone: &'static str,
    /// Only while the task runs.
    pub progress: Option<u8>,
    pub client: Option<String>,
    pub kind: &'static str,
    pub model: Option<String>,
    pub reference: Option<String>,
    pub submitted: Moment,
    pub source: Option<&'static str>,
    /// From the submit to the outcome.
    pub took: Option<String>,
    pub error: Option<String>,
    pub media: MediaKind,
    /// The number of result files beyond the first.
    pub more_files: usize,
}

/// What the first result file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaKind {
    Image,
    Video,
    Audio,
    /// It is archived, and no browser shows it.
    Other,
    /// It is still to be archived.
    Pending,
    /// It is not archived any more, or was given up.
    Gone,
    None,
}

impl MediaKind {
    /// What `content_type` is. SVG is not shown: it is a document, and not what EvoLink makes.
    pub fn of(content_type: &str) -> Self {
        match content_type.split('/').next() {
            Some("image") if !content_type.contains("svg") => Self::Image,
            Some("video") => Self::Video,
            Some("audio") => Self::Audio,
            _ => Self::Other,
        }
    }

    fn of_first(view: &TaskView) -> Self {
        let Some(file) = view.files.first() else {
            return Self::None;
        };
        match (file.state, &file.copy) {
            (FileState::Archived, Some(copy)) => Self::of(&copy.content_type),
            (FileState::Pending, _) => Self::Pending,
            (FileState::Archived | FileState::Failed | FileState::Expired, _) => Self::Gone,
        }
    }
}

impl Card {
    pub fn new(view: &TaskView, now: Timestamp) -> Self {
        let (record, task) = (&view.record, &view.record.task);
        let state = task.state();
        let accepted = task.accepted();
        let ended_at = accepted.and_then(Accepted::outcome_at);
        let runs = matches!(state, State::Pending | State::Processing);
        Self {
            submission_id: task.submission_id.to_string(),
            task_id: task.task_id().map(ToString::to_string),
            prompt: beginning(&prompt(view), PROMPT_CHARACTERS_MAX),
            state: state.into_str(),
            label: state_label(state),
            tone: tone(state),
            progress: accepted.filter(|_| runs).map(|accepted| accepted.progress),
            client: record.client.clone(),
            kind: kind_label(task.kind),
            model: record.model.clone(),
            reference: record.reference.clone(),
            submitted: Moment::new(task.submitted_at, now),
            source: accepted
                .filter(|_| state.is_outcome())
                .map(|accepted| source_label(accepted.source)),
            took: ended_at.map(|at| {
                let took = at.since(task.submitted_at);
                let millis = took.as_millis();
                if millis < 60_000 {
                    format!("{}.{} s", millis / 1000, millis % 1000 / 100)
                } else {
                    span(took)
                }
            }),
            error: error(view).map(|text| beginning(&text, ERROR_CHARACTERS_MAX)),
            media: MediaKind::of_first(view),
            more_files: view.files.len().saturating_sub(1),
        }
    }
}

/// The prompt of the request. A task that was not submitted here has none.
pub fn prompt(view: &TaskView) -> String {
    let request = view.record.request.as_ref();
    let request = request.and_then(|request| Fields::parse(request).ok());
    let prompt = request.and_then(|request| request.read::<String>("prompt"));
    let blank = |text: &String| !text.trim().is_empty();
    prompt.filter(blank).unwrap_or_else(|| {
        let task = &view.record.task;
        let id = task.task_id().map(ToString::to_string);
        id.unwrap_or_else(|| task.submission_id.to_string())
    })
}

/// Why the task has no result, in EvoLink's words.
pub fn error(view: &TaskView) -> Option<String> {
    let state = view.record.task.state();
    let refusal = || {
        let envelope = view
            .record
            .refusal
            .as_deref()
            .and_then(ErrorEnvelope::parse)?;
        envelope.message.or(envelope.code)
    };
    let told = || {
        let body = view.body.clone()?;
        Observation::parse(body).ok()?.error_message()
    };
    match state {
        State::Rejected => refusal(),
        State::Failed | State::Cancelled => told(),
        _ => None,
    }
}
