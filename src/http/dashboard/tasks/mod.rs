//! The first page: all tasks, newest first, as a gallery or as a table.

mod card;
mod filter;

use askama::Template;
use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use strum::VariantArray as _;

use super::page::{Frame, PageError, Tab, Viewer, html};
use super::text::state_label;
use crate::domain::event::EventType;
use crate::domain::ids::SubmissionId;
use crate::domain::kind::Kind;
use crate::domain::task::State as TaskState;
use crate::http::internal::InternalState;
use crate::http::internal::access::Caller;
use crate::http::internal::error::ApiError;
use crate::store::read::{TaskFilter, TaskName};
pub use card::{Card, MediaKind, prompt};
use filter::Query;

/// The most tasks that a script may ask for by their ids at once.
const IDS_MAX: usize = 50;

#[derive(Template)]
#[template(path = "tasks.html")]
struct TasksPage {
    frame: Frame,
    query: Query,
    states: Vec<Choice>,
    kinds: Vec<Choice>,
    cards: Cards,
    /// What is wrong with the filters.
    error: Option<String>,
    live: Live,
}

/// An entry of a list of choices.
struct Choice {
    value: &'static str,
    label: &'static str,
    is_chosen: bool,
}

/// Where the page begins to follow the event stream.
pub struct Live {
    /// The id of the newest event that the page shows.
    pub after: String,
    /// The names of all types of events.
    pub types: String,
}

/// A part of the list: what the first page shows, or the tasks that a script has asked for.
#[derive(Template)]
#[template(path = "cards.html")]
struct Cards {
    cards: Vec<Card>,
    /// The address of the next part.
    next: Option<String>,
}

pub async fn show(
    State(state): State<InternalState>,
    Extension(viewer): Extension<Viewer>,
    Extension(caller): Extension<Caller>,
    RawQuery(query): RawQuery,
) -> Result<Response, PageError> {
    if !viewer.may_read && viewer.may_submit {
        // A key that may only submit has one page.
        return Ok(axum::response::Redirect::to("/try").into_response());
    }
    viewer.must_read()?;
    let query = Query::parse(query.as_deref().unwrap_or_default());
    // Before the tasks are read, so that no change in between is missed.
    let live = Live::at_end(&state)
        .await
        .map_err(|error| error.to(&viewer))?;
    let (cards, error) = match query.filter(&state) {
        Ok(filter) => (list(&state, &caller, &query, filter).await?, None),
        Err(error) => (Cards::none(), Some(error)),
    };
    let status = error.as_ref().map_or(StatusCode::OK, ApiError::status);
    let choices = |chosen: &str, all: Vec<(&'static str, &'static str)>| {
        let choice = |(value, label)| Choice {
            value,
            label,
            is_chosen: value == chosen,
        };
        all.into_iter().map(choice).collect()
    };
    let all_states = TaskState::VARIANTS.iter();
    let all_states = all_states.map(|one| (one.into_str(), state_label(*one)));
    let kinds = Kind::VARIANTS
        .iter()
        .map(|kind| (kind.into_str(), kind.into_str()));
    let page = TasksPage {
        frame: Frame::new("Tasks", Tab::Tasks, Some(viewer)),
        states: choices(&query.status, all_states.collect()),
        kinds: choices(&query.kind, kinds.collect()),
        cards,
        error: error.map(|error| error.message().to_owned()),
        live,
        query,
    };
    Ok((status, html(&page)).into_response())
}

/// A part of the list, for a script: the page at `cursor`, or of the tasks `ids` those that match
/// the filters.
pub async fn fragment(
    State(state): State<InternalState>,
    Extension(viewer): Extension<Viewer>,
    Extension(caller): Extension<Caller>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    if !viewer.may_read {
        return Err(ApiError::missing_scope("read"));
    }
    let query = Query::parse(query.as_deref().unwrap_or_default());
    let filter = query.filter(&state)?;
    let cards = match query.ids() {
        None => list(&state, &caller, &query, filter).await?,
        Some(ids) if ids.len() <= IDS_MAX => these(&state, &caller, &filter, &ids).await?,
        Some(_) => {
            let message = format!("`ids` must be at most {IDS_MAX} submission ids");
            return Err(ApiError::invalid("ids", message));
        }
    };
    Ok(html(&cards))
}

async fn list(
    state: &InternalState,
    caller: &Caller,
    query: &Query,
    mut filter: TaskFilter,
) -> Result<Cards, ApiError> {
    if !filter.narrow(caller) {
        return Ok(Cards::none());
    }
    let page = state.store.list_tasks(&filter, filter::PAGE).await?;
    let now = state.clock.now();
    Ok(Cards {
        cards: page.tasks.iter().map(|view| Card::new(view, now)).collect(),
        next: page.next.map(|cursor| query.address(Some(cursor))),
    })
}

async fn these(
    state: &InternalState,
    caller: &Caller,
    filter: &TaskFilter,
    ids: &[SubmissionId],
) -> Result<Cards, ApiError> {
    let now = state.clock.now();
    let mut cards = Vec::new();
    for id in ids {
        let name = TaskName::Submission(*id);
        let own = caller.sees_only.as_deref();
        let found = state.store.find_task_of(&name, own).await?;
        let found = found.filter(|view| filter::matches(filter, view));
        cards.extend(found.map(|view| Card::new(&view, now)));
    }
    Ok(Cards { cards, next: None })
}

impl Cards {
    const fn none() -> Self {
        Self {
            cards: Vec::new(),
            next: None,
        }
    }
}

impl Live {
    pub async fn at_end(state: &InternalState) -> Result<Self, PageError> {
        let log = state.store.log_state().await?;
        let types: Vec<&str> = EventType::VARIANTS
            .iter()
            .map(EventType::into_str)
            .collect();
        Ok(Self {
            after: log.epochs.id(log.newest).to_string(),
            types: types.join(" "),
        })
    }
}
