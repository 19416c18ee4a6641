//! The page with everything that an operator should look at, each with what to do about it.

mod quarantine;
mod refusals;

use std::collections::HashSet;

use askama::Template;
use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use url::form_urlencoded::byte_serialize;

use super::page::{Frame, PageError, Tab, Viewer, html};
use super::task::ShownDelivery;
use super::tasks::Card;
use crate::domain::delivery::{DeliveryState, ShownState};
use crate::domain::task::State as TaskState;
use crate::http::internal::InternalState;
use crate::http::internal::access::Caller;
use crate::http::internal::error::ApiError;
use crate::store::StoreError;
use crate::store::deliveries::DeliveryFilter;
use crate::store::quarantine::QuarantineFilter;
use crate::store::read::TaskFilter;
use quarantine::ShownEntry;
use refusals::Refusal;

/// The most rows of each section. The others are on the page of tasks, or in the API.
const ROWS_MAX: u32 = 20;

#[derive(Template)]
#[template(path = "trouble.html")]
struct TroublePage {
    frame: Frame,
    parts: Parts,
}

/// All sections.
#[derive(Template)]
#[template(path = "trouble_parts.html")]
struct Parts {
    unknown: Tasks,
    unresolved: Tasks,
    refusals: Vec<Refusal>,
    handshakes: Vec<Refusal>,
    /// `None` if the viewer's key lacks the scope `admin`.
    operations: Option<Operations>,
}

/// Tasks in one state.
struct Tasks {
    cards: Vec<Card>,
    count: i64,
    is_cut: bool,
}

/// What only operators see.
struct Operations {
    entries: Vec<ShownEntry>,
    entries_count: u64,
    dead: Deliveries,
    held: Deliveries,
}

/// Deliveries in one state.
struct Deliveries {
    shown: Vec<ShownDelivery>,
    count: i64,
    /// The endpoints of the shown ones, and how each is written in an address.
    endpoints: Vec<(String, String)>,
}

pub async fn show(
    State(state): State<InternalState>,
    Extension(viewer): Extension<Viewer>,
    Extension(caller): Extension<Caller>,
) -> Result<Response, PageError> {
    viewer.must_read()?;
    let parts = Parts::of(&state, &viewer, &caller).await;
    let parts = parts.map_err(|error| PageError::from(error).to(&viewer))?;
    let page = TroublePage {
        frame: Frame::new("Trouble", Tab::Trouble, Some(viewer)),
        parts,
    };
    Ok(html(&page))
}

pub async fn fragment(
    State(state): State<InternalState>,
    Extension(viewer): Extension<Viewer>,
    Extension(caller): Extension<Caller>,
) -> Result<Response, ApiError> {
    if !viewer.may_read {
        return Err(ApiError::missing_scope("read"));
    }
    Ok(html(&Parts::of(&state, &viewer, &caller).await?))
}

impl Parts {
    async fn of(
        state: &InternalState,
        viewer: &Viewer,
        caller: &Caller,
    ) -> Result<Self, StoreError> {
        let hour = state.metrics.last_hour();
        Ok(Self {
            unknown: Tasks::of(state, caller, TaskState::SubmitUnknown).await?,
            unresolved: Tasks::of(state, caller, TaskState::Unresolved).await?,
            refusals: refusals::of_callbacks(&hour.refused),
            handshakes: refusals::of_handshakes(&hour.handshakes),
            operations: if viewer.may_operate {
                Some(Operations::of(state).await?)
            } else {
                None
            },
        })
    }

    fn is_clear(&self) -> bool {
        let operations = self.operations.as_ref();
        self.unknown.cards.is_empty()
            && self.unresolved.cards.is_empty()
            && self.refusals.is_empty()
            && self.handshakes.is_empty()
            && operations.is_none_or(|it| {
                it.entries.is_empty() && it.dead.shown.is_empty() && it.held.shown.is_empty()
            })
    }
}

impl Tasks {
    async fn of(
        state: &InternalState,
        caller: &Caller,
        in_state: TaskState,
    ) -> Result<Self, StoreError> {
        let mut filter = TaskFilter {
            state: Some(in_state),
            ..TaskFilter::default()
        };
        filter.narrow(caller);
        let page = state.store.list_tasks(&filter, ROWS_MAX).await?;
        let now = state.clock.now();
        let cards: Vec<Card> = page.tasks.iter().map(|view| Card::new(view, now)).collect();
        // A key that sees only its own tasks is not told how many there are of others.
        let count = if caller.sees_only.is_some() {
            i64::try_from(cards.len()).unwrap_or(i64::MAX)
        } else {
            state.store.count_in_state(in_state).await?
        };
        Ok(Self {
            cards,
            count,
            is_cut: page.next.is_some(),
        })
    }
}

impl Operations {
    async fn of(state: &InternalState) -> Result<Self, StoreError> {
        let filter = QuarantineFilter::default();
        let page = state.store.list_quarantine(&filter, ROWS_MAX).await?;
        let now = state.clock.now();
        let dead = state.store.count_deliveries(DeliveryState::Dead).await?;
        let held = state.store.count_held_deliveries().await?;
        Ok(Self {
            entries: page
                .entries
                .iter()
                .map(|entry| ShownEntry::new(entry, now))
                .collect(),
            entries_count: state.store.quarantine_total().await?.entries,
            dead: Deliveries::of(state, ShownState::Dead, dead).await?,
            held: Deliveries::of(state, ShownState::Held, held).await?,
        })
    }
}

impl Deliveries {
    async fn of(state: &InternalState, shown: ShownState, count: i64) -> Result<Self, StoreError> {
        let filter = DeliveryFilter {
            state: Some(shown),
            ..DeliveryFilter::default()
        };
        let page = state.store.list_deliveries(&filter, ROWS_MAX).await?;
        let now = state.clock.now();
        let views = page.deliveries.iter();
        let shown: Vec<_> = views.map(|view| ShownDelivery::new(view, now)).collect();
        let mut seen = HashSet::new();
        let endpoints = shown.iter().map(|delivery| &delivery.endpoint);
        let endpoints = endpoints.filter(|name| seen.insert(name.as_str()));
        let written = |name: &String| byte_serialize(name.as_bytes()).collect();
        Ok(Self {
            endpoints: endpoints
                .map(|name| (name.clone(), written(name)))
                .collect(),
            shown,
            count,
        })
    }
}
