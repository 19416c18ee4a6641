//! The log, as apps get it: page by page, or as a stream that goes on.

mod accept;
mod frames;
mod parameters;
mod stream;

use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use http::HeaderMap;
use serde::Serialize;

use super::auth::Caller;
use super::error::ApiError;
use super::internal::InternalState;
use super::tasks;
use crate::store::events::{EventFilter, LogBounds, PageSize};
use frames::EventObject;
use parameters::{Parameters, Place};
pub use stream::PageTurns;

/// A page that would be larger ends there: what is left is on the page after.
const PAGE_BYTES_MAX: usize = 2 * 1024 * 1024;

/// A page of events, the oldest first. With a filter it may be short, or empty, and have more behind it: what is rare is
/// looked for a page at a time.
#[derive(Serialize)]
struct EventsPage<'a> {
    data: Vec<EventObject<'a>>,
    /// To be given as `after` for the page after.
    next: i64,
}

pub async fn show(
    State(state): State<InternalState>,
    Extension(caller): Extension<Caller>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let parameters = Parameters::parse(query.as_deref().unwrap_or_default(), &headers)?;
    let filter = filter(&state, &parameters).await?;
    let bounds = state.store.log_bounds().await?;
    if accept::wants_stream(&headers) {
        let after = within(parameters.place, &bounds)?.unwrap_or(bounds.newest);
        let seat = state.seats.take(&caller)?;
        return Ok(stream::open(&state, seat, filter, after));
    }
    let first = bounds.oldest.map_or(0, |oldest| oldest - 1);
    let after = within(parameters.place, &bounds)?.unwrap_or(first);
    let size = PageSize {
        events: parameters.limit,
        bytes: PAGE_BYTES_MAX,
    };
    let page = state.store.list_events(&filter, after, size);
    let page = page.await?;
    let page = EventsPage {
        data: page.events.iter().map(EventObject::of).collect(),
        next: page.next,
    };
    Ok(Json(page).into_response())
}

async fn filter(state: &InternalState, parameters: &Parameters) -> Result<EventFilter, ApiError> {
    let task = match &parameters.task {
        None => None,
        Some(text) => {
            let name = tasks::parse_name(text).ok_or_else(parameters::not_a_task)?;
            let view = state.store.find_task(&name).await?;
            view.ok_or_else(ApiError::task_not_found)?.record.seq
        }
    };
    Ok(EventFilter {
        types: parameters.types.clone(),
        task,
    })
}

/// The place from which to go on, if it is one that the log can be read from without leaving out any.
fn within(place: Option<Place>, bounds: &LogBounds) -> Result<Option<i64>, ApiError> {
    let Some(Place { after, param }) = place else {
        return Ok(None);
    };
    if after > bounds.newest {
        let newest = bounds.newest;
        let message = format!(
            "`{param}` is beyond the newest event, {newest}: it is of another log, or this one was restored from a backup; \
             go on from a place that is in it"
        );
        return Err(ApiError::invalid(param, message));
    }
    match bounds.oldest {
        Some(oldest) if after < oldest - 1 => Err(ApiError::cursor_expired(param, oldest)),
        _ => Ok(Some(after)),
    }
}
