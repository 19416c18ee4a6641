//! The result files of a task, on its page.

use super::web_link;
use crate::domain::observation::{Observation, RESULTS_MAX};
use crate::domain::result_file::FileState;
use crate::domain::task::State;
use crate::http::dashboard::tasks::MediaKind;
use crate::http::dashboard::text::{beginning, size};
use crate::http::internal::InternalState;
use crate::store::read::TaskView;
use crate::store::results::ShownFile;

/// One result.
#[derive(Debug)]
pub struct ShownResult {
    pub number: usize,
    pub media: MediaKind,
    /// Its type, size and dimensions. Empty until it is archived.
    pub about: String,
    pub sha256: Option<String>,
    pub error: Option<String>,
    /// EvoLink's URL, if a browser may follow it.
    pub origin: Option<String>,
    pub is_here: bool,
    is_pending: bool,
}

impl ShownResult {
    pub const fn is_pending(&self) -> bool {
        self.is_pending
    }

    pub fn is_image(&self) -> bool {
        self.is_here && self.media == MediaKind::Image
    }

    pub fn is_video(&self) -> bool {
        self.is_here && self.media == MediaKind::Video
    }

    pub fn is_audio(&self) -> bool {
        self.is_here && self.media == MediaKind::Audio
    }
}

pub fn of_task(view: &TaskView) -> Vec<ShownResult> {
    if view.record.task.state() != State::Completed {
        return Vec::new();
    }
    let seen = view.body.clone().map(Observation::parse);
    let seen = seen.and_then(Result::ok);
    let urls = seen.iter().flat_map(Observation::urls).take(RESULTS_MAX);
    let shown = urls.enumerate().map(|(number, url)| {
        let is_it = |file: &&ShownFile| usize::try_from(file.id.number()) == Ok(number);
        let file = view.files.iter().find(is_it);
        let copy = file.and_then(|file| file.copy.as_ref());
        let state = file.map(|file| file.state);
        let about = copy.map(|copy| {
            let dimensions = copy.dimensions;
            let dimensions = dimensions.map(|(width, height)| format!(" · {width} × {height}"));
            let (content_type, size) = (&copy.content_type, size(copy.bytes));
            format!("{content_type} · {size}{}", dimensions.unwrap_or_default())
        });
        ShownResult {
            number,
            media: copy.map_or(MediaKind::None, |copy| MediaKind::of(&copy.content_type)),
            about: about.unwrap_or_default(),
            sha256: copy.map(|copy| beginning(&copy.sha256, 12)),
            error: file.and_then(|file| file.error.clone()),
            origin: web_link(url),
            is_here: state == Some(FileState::Archived),
            is_pending: state == Some(FileState::Pending),
        }
    });
    shown.collect()
}

/// What the page says if there are no files.
pub fn why_none(state: &InternalState, view: &TaskView) -> &'static str {
    match view.record.task.state() {
        State::Submitting => "EvoLink has not answered the submit yet.",
        State::Pending | State::Processing => "The files appear here when the task is completed.",
        State::SubmitUnknown => {
            "EvoLink may have accepted this submit. It is not sent again, because that could be \
             paid twice. A callback still completes the task."
        }
        State::Unresolved => {
            "EvoLink reported no outcome in time. The task is still polled now and then, and a \
             late outcome counts."
        }
        State::Rejected => "EvoLink did not accept this submit, so there is nothing to show.",
        State::Failed | State::Cancelled => "The task ended without results.",
        State::Completed if state.archive.is_none() => {
            "Results are not archived: archive.enabled is false."
        }
        State::Completed => "EvoLink named no files.",
    }
}
