//! The task object: EvoLink's JSON as last received, including unknown members, plus one member of
//! our own, `receiver`. Queries return it, and deliveries send it. It is separate from `http` and
//! `workers`, because these do not depend on each other.

pub mod history;
mod receiver;
mod unconfirmed;

use std::sync::Arc;

use bytes::Bytes;

use crate::domain::json::Fields;
use crate::domain::observation::results::without_query;
use crate::domain::observation::{Observation, RESULTS_MAX, Source, Status};
use crate::domain::result_file::{FileState, OFFERED_FOR};
use crate::domain::task::{Accepted, State};
use crate::domain::timestamp::Timestamp;
use crate::store::read::TaskView;
use crate::store::recorder::record::Record;
use crate::store::results::ShownFile;
use receiver::{Receiver, ResultObject};
use unconfirmed::unconfirmed;

/// Builds task objects. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct TaskObjects {
    /// `None` if result files are not archived.
    links: Option<Links>,
    /// Whether the app's request is shown.
    shows_request: bool,
}

/// How the URLs of archived files are shown.
#[derive(Clone, Debug)]
struct Links {
    /// How apps reach the internal listener, without a slash at the end.
    base_url: Arc<str>,
    /// Whether they replace EvoLink's URLs in `results` as well.
    rewrite_results: bool,
}

impl TaskObjects {
    /// Shows archived files under `base_url`, by which apps reach the internal listener.
    pub fn with_links(base_url: &str, rewrite_results: bool) -> Self {
        Self {
            links: Some(Links {
                base_url: base_url.trim_end_matches('/').into(),
                rewrite_results,
            }),
            shows_request: false,
        }
    }

    /// Shows requests too, to readers and in deliveries. An app that may only submit does not see
    /// them: a repeat of its submit may be answered with that of another program under its key.
    #[must_use]
    pub fn for_readers(&self) -> Self {
        Self {
            shows_request: true,
            ..self.clone()
        }
    }

    /// The task as it is now.
    pub fn of_view(&self, view: &TaskView) -> Fields {
        let task = &view.record.task;
        self.build(&Shown {
            record: &view.record,
            body: view.body.as_ref(),
            newest: view.body.as_ref(),
            files: &view.files,
            is_current: true,
            state: task.state(),
            source: task.accepted().map(|accepted| accepted.source),
            outcome_at: task.accepted().and_then(Accepted::outcome_at),
            claimed: task.unconfirmed(),
        })
    }

    /// The task as it was when `body` bound its id. If `body` reports an outcome, it was not
    /// confirmed yet.
    pub fn as_adopted_by(
        &self,
        view: &TaskView,
        body: &Bytes,
        source: Source,
        at: Timestamp,
    ) -> Fields {
        match Observation::parse(body.clone()).map(|seen| seen.status) {
            Ok(Status::Completed | Status::Failed | Status::Cancelled) => {
                self.build(&Shown::pending(view, source))
            }
            Ok(Status::Pending | Status::Processing | Status::Unknown(_)) | Err(_) => {
                self.as_told_by(view, body, source, at)
            }
        }
    }

    /// The task as it was after `body`.
    pub fn as_told_by(
        &self,
        view: &TaskView,
        body: &Bytes,
        source: Source,
        at: Timestamp,
    ) -> Fields {
        let seen = Observation::parse(body.clone());
        // Completion without results is believed only of polls, which repeat it. From any other
        // source, it ended nothing and was not shown.
        let is_doubtful = |seen: &Observation| {
            seen.status == Status::Completed && !seen.has_results() && source != Source::Poll
        };
        if seen.as_ref().is_ok_and(is_doubtful) {
            return self.build(&Shown::pending(view, source));
        }
        let state = match seen.map(|seen| seen.status) {
            Ok(Status::Processing) => State::Processing,
            Ok(Status::Completed) => State::Completed,
            Ok(Status::Failed) => State::Failed,
            Ok(Status::Cancelled) => State::Cancelled,
            Ok(Status::Pending | Status::Unknown(_)) | Err(_) => State::Pending,
        };
        self.build(&Shown {
            body: Some(body),
            state,
            outcome_at: state.is_outcome().then_some(at),
            ..Shown::pending(view, source)
        })
    }

    fn build(&self, shown: &Shown<'_>) -> Fields {
        let record = shown.record;
        let seen = shown
            .body
            .and_then(|body| Observation::parse(body.clone()).ok());
        let urls = seen.as_ref().map(|seen| shown.numbered(seen));
        let urls = urls.unwrap_or_default();
        let results_left_out = urls.len().saturating_sub(RESULTS_MAX);
        let numbered = (0..).zip(urls.iter().take(RESULTS_MAX));
        let results: Vec<ResultObject> = numbered
            .map(|(number, (_, url))| self.result(shown, number, (*url).to_owned()))
            .collect();
        let rewritten = self.rewritten(seen.as_ref(), &urls, &results);
        drop(urls);
        let receiver = Receiver {
            submission_id: record.task.submission_id,
            state: shown.state.into_str(),
            finished: shown.state.is_finished(),
            source: shown.source.map(<&str>::from),
            submitted_at: record.task.submitted_at,
            outcome_at: shown.outcome_at,
            client: record.client.as_deref(),
            kind: record.task.kind,
            reference: record.reference.as_deref(),
            request: self.request(record),
            unconfirmed: shown.claimed.map(<&str>::from),
            results_left_out,
            results,
        };
        let mut fields = seen.map_or_else(|| unconfirmed(record), Observation::into_fields);
        if let Some(results) = rewritten {
            fields.set("results", &results);
        }
        fields.remove("receiver");
        fields.set("receiver", &receiver);
        fields
    }

    fn request(&self, record: &Record) -> Option<Fields> {
        let request = record.request.as_ref().filter(|_| self.shows_request)?;
        Fields::parse(request).ok()
    }

    fn result(&self, shown: &Shown<'_>, number: i64, origin_url: String) -> ResultObject {
        let file = shown.files.iter().find(|file| file.id.number() == number);
        let is_offered = file.is_some_and(|file| {
            !shown.is_current || matches!(file.state, FileState::Pending | FileState::Archived)
        });
        let links = self.links.as_ref().filter(|_| is_offered);
        let id = shown.record.task.submission_id;
        let file = file.filter(|_| shown.is_current);
        let copy = file.and_then(|file| file.copy.as_ref());
        let dimensions = copy.and_then(|copy| copy.dimensions);
        ResultObject {
            url: links.map(|links| format!("{}/v1/tasks/{id}/results/{number}", links.base_url)),
            origin_url,
            sha256: copy.map(|copy| copy.sha256.clone()),
            bytes: copy.map(|copy| copy.bytes),
            content_type: copy.map(|copy| copy.content_type.clone()),
            width: dimensions.map(|(width, _)| width),
            height: dimensions.map(|(_, height)| height),
            archived_at: file
                .filter(|file| file.state == FileState::Archived)
                .and_then(|file| file.ended_at),
            expires_at: shown.outcome_at.map(|at| at.after(OFFERED_FOR)),
            error: file.and_then(|file| file.error.clone()),
        }
    }

    /// Returns `results` with our URLs in place of EvoLink's, where we have one. `None` if
    /// rewriting is off, or if the task has no results.
    fn rewritten(
        &self,
        seen: Option<&Observation>,
        urls: &[(usize, &str)],
        results: &[ResultObject],
    ) -> Option<Vec<String>> {
        self.links.as_ref().filter(|links| links.rewrite_results)?;
        let seen = seen.filter(|seen| !seen.results.is_empty())?;
        let mut all = seen.results.clone();
        for ((position, _), result) in urls.iter().zip(results) {
            if let (Some(url), Some(our)) = (all.get_mut(*position), &result.url) {
                url.clone_from(our);
            }
        }
        Some(all)
    }
}

/// The data of one task object.
struct Shown<'a> {
    record: &'a Record,
    body: Option<&'a Bytes>,
    /// The body that is shown for the task now.
    newest: Option<&'a Bytes>,
    files: &'a [ShownFile],
    /// Whether it shows the task as it is now, and so the state of its files.
    is_current: bool,
    state: State,
    source: Option<Source>,
    outcome_at: Option<Timestamp>,
    claimed: Option<State>,
}

impl<'a> Shown<'a> {
    /// The URLs in the order of their numbers, each with its position in the body. An earlier body
    /// than the recorded one may lack some of them; the others have the same order.
    fn numbered<'s>(&self, seen: &'s Observation) -> Vec<(usize, &'s str)> {
        let order = &self.record.results_order;
        if order.is_plain() || self.is_current {
            return order.apply(seen.urls());
        }
        let newest = self
            .newest
            .and_then(|body| Observation::parse(body.clone()).ok());
        let newest = newest.iter().flat_map(|newest| order.apply(newest.urls()));
        let newest: Vec<&str> = newest.map(|(_, url)| without_query(url)).collect();
        let mut urls: Vec<(usize, &str)> = seen.urls().enumerate().collect();
        let number = |url: &str| newest.iter().position(|known| *known == without_query(url));
        urls.sort_by_key(|(_, url)| number(url).unwrap_or(usize::MAX));
        urls
    }

    /// A pending task without a body.
    fn pending(view: &'a TaskView, source: Source) -> Self {
        Self {
            record: &view.record,
            body: None,
            newest: view.body.as_ref(),
            files: &view.files,
            is_current: false,
            state: State::Pending,
            source: Some(source),
            outcome_at: None,
            claimed: None,
        }
    }
}
