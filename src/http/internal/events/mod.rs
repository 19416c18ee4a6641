//! The event log for apps: page by page, or as a stream that stays open.

mod accept;
mod frames;
mod parameters;
mod stream;

use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use http::HeaderMap;
use serde::Serialize;

use super::InternalState;
use super::access::Caller;
use super::error::ApiError;
use super::{query, tasks};
use crate::domain::event::id::{EventId, Lost};
use crate::store::StoreError;
use crate::store::epochs::LogState;
use crate::store::read::events::{EventFilter, EventPage, PageSize};
use frames::EventObject;
use parameters::{Parameters, Place};
pub use stream::CatchUpPermit;

/// Size at which a page ends early. The remaining events are on the next page.
const PAGE_BYTES_MAX: usize = 2 * 1024 * 1024;

/// How often a page is read if the oldest events are deleted meanwhile.
const PAGE_TRIES: u32 = 3;

/// A page of events, oldest first. With a filter it may be short or empty although more matching
/// events follow: one request searches only a bounded part of the log.
#[derive(Serialize)]
struct EventsPage<'a> {
    data: Vec<EventObject<'a>>,
    /// The `after` parameter for the next page.
    next: EventId,
    /// Whether nothing after `next` had been recorded yet.
    caught_up: bool,
}

pub async fn show(
    State(state): State<InternalState>,
    Extension(caller): Extension<Caller>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let parameters = Parameters::parse(query.as_deref().unwrap_or_default(), &headers)?;
    let filter = filter(&state, &caller, &parameters).await?;
    let log = state.store.log_state().await?;
    if accept::wants_stream(&headers) {
        let after = within(parameters.place, &log)?.unwrap_or(log.newest);
        let permit = state.wait_permits.take(&caller)?;
        return Ok(stream::open(&state, permit, filter, log.epochs, after));
    }
    let (log, page) = read_page(&state, &parameters, &filter, log).await?;
    let page = EventsPage {
        data: page
            .events
            .iter()
            .map(|event| EventObject::of(&state.task_objects, event))
            .collect(),
        next: log.epochs.id(page.next),
        caught_up: page.is_last,
    };
    Ok(Json(page).into_response())
}

/// Reads the page that begins at the position that the request names. The janitor may delete the
/// events there meanwhile. Then the position is resolved again: it is expired, or it was only the
/// oldest event that was kept.
async fn read_page(
    state: &InternalState,
    parameters: &Parameters,
    filter: &EventFilter,
    mut log: LogState,
) -> Result<(LogState, EventPage), ApiError> {
    let size = PageSize {
        events: parameters.limit,
        bytes: PAGE_BYTES_MAX,
    };
    for _ in 0..PAGE_TRIES {
        let after = within(parameters.place, &log)?.unwrap_or_else(|| before_oldest(&log));
        let page = state.store.list_events(filter, &log.epochs, after, size);
        match page.await {
            Err(StoreError::EventsDeleted { .. }) => log = state.store.log_state().await?,
            page => return Ok((log, page?)),
        }
    }
    Err(ApiError::unavailable())
}

async fn filter(
    state: &InternalState,
    caller: &Caller,
    parameters: &Parameters,
) -> Result<EventFilter, ApiError> {
    let own = caller.sees_only.as_deref();
    let task = match &parameters.task {
        None => None,
        Some(text) => {
            let name = query::task(tasks::parse_name(text))?;
            let view = state.store.find_task_of(&name, own).await?;
            view.ok_or_else(ApiError::task_not_found)?.record.seq
        }
    };
    Ok(EventFilter {
        types: parameters.types.clone(),
        task,
        client: own.map(str::to_owned),
    })
}

/// The `seq` after which the reader continues; `None` if the request named no position.
///
/// # Errors
/// 410 if events that the reader has not seen were deleted or replaced. 400 if the position is
/// beyond the newest event.
fn within(place: Option<Place>, log: &LogState) -> Result<Option<i64>, ApiError> {
    let Some(Place { after, param }) = place else {
        return Ok(None);
    };
    let oldest = before_oldest(log);
    let expired = |why: &str, resume: i64| {
        let resume = EventId {
            epoch: log.epochs.current(),
            seq: resume.max(oldest),
        };
        ApiError::cursor_expired(param, why, resume)
    };
    let seq = log.epochs.resolve(after).map_err(|lost| match lost {
        Lost::EpochEnded { at } => expired(
            "the store was restored from a backup that does not have this event",
            at,
        ),
        Lost::UnknownEpoch => expired(
            "this store does not know this epoch: it is another store, or was restored",
            oldest,
        ),
    })?;
    if seq > log.newest {
        let newest = log.epochs.id(log.newest);
        let message = format!(
            "`{param}` is beyond the newest event, {newest}: go on from a place that is in the log"
        );
        return Err(ApiError::invalid(param, message));
    }
    if seq < oldest {
        return Err(expired(
            "events that you have not read are no longer kept",
            oldest,
        ));
    }
    Ok(Some(seq))
}

/// The position just before the oldest event that is kept.
fn before_oldest(log: &LogState) -> i64 {
    log.oldest.map_or(0, |oldest| oldest - 1)
}
