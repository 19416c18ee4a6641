//! Deliveries, for operators: lists them, and sends dead ones again, one at a time or in bulk.

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use serde::Serialize;
use tracing::{info, warn};

use crate::domain::delivery::{DeliveryId, DeliveryState, EndpointKey, ShownState};
use crate::domain::event::id::EventId;
use crate::domain::ids::{SubmissionId, TaskId};
use crate::domain::timestamp::Timestamp;
use crate::http::internal::InternalState;
use crate::http::internal::error::ApiError;
use crate::http::internal::{query, tasks};
use crate::store::deliveries::{DeliveryFilter, DeliveryView, RETRIED_AT_ONCE_MAX};
use crate::store::recorder::calls::RetryOne;

const PARAMETERS: &str = "state, endpoint, task, limit, cursor";
const RETRY_PARAMETERS: &str = "state, endpoint";

/// Maximum length of an endpoint name or origin.
const ENDPOINT_BYTES_MAX: usize = 2048;

/// Maximum number of transactions of one bulk retry. It is small enough that the request is
/// answered in time; callbacks are recorded between the transactions.
const RETRY_BATCHES_MAX: u32 = 10;

/// A page of deliveries, newest first.
#[derive(Debug, Serialize)]
pub struct DeliveryPage {
    data: Vec<DeliveryObject>,
    /// The `cursor` of the next page.
    next: Option<String>,
}

/// One delivery as operators see it.
#[derive(Debug, Serialize)]
pub struct DeliveryObject {
    id: i64,
    event: EventName,
    submission_id: SubmissionId,
    task_id: Option<TaskId>,
    endpoint: String,
    endpoint_disabled: bool,
    /// The app's own callback address without its query, which may contain a secret. `null` for a
    /// standing endpoint.
    url: Option<String>,
    state: &'static str,
    attempts: u32,
    due_at: Option<Timestamp>,
    last_status: Option<u16>,
    last_error: Option<String>,
    made_at: Timestamp,
    ended_at: Option<Timestamp>,
}

#[derive(Debug, Serialize)]
struct EventName {
    id: EventId,
    seq: i64,
    r#type: &'static str,
}

/// The result of a bulk retry.
#[derive(Debug, Serialize)]
#[expect(clippy::struct_field_names, reason = "the names of the answer")]
pub struct Retried {
    retried: u32,
    /// The requested endpoint was disabled and is enabled now.
    enabled: bool,
    /// More dead deliveries are left: send the request again.
    more: bool,
}

pub async fn list(
    State(state): State<InternalState>,
    RawQuery(query): RawQuery,
) -> Result<Json<DeliveryPage>, ApiError> {
    let (filter, limit) = parse_list_query(query.as_deref().unwrap_or_default())?;
    let page = state.store.list_deliveries(&filter, limit).await?;
    if let Some(endpoint) = &filter.endpoint
        && page.deliveries.is_empty()
        && page.next.is_none()
        && filter.before.is_none()
    {
        must_be_known(&state, endpoint)?;
    }
    Ok(Json(DeliveryPage {
        data: page.deliveries.iter().map(DeliveryObject::of).collect(),
        next: page.next.map(|id| id.to_string()),
    }))
}

/// One delivery, with its failed attempts.
#[derive(Debug, Serialize)]
pub struct DeliveryDetails {
    #[serde(flatten)]
    delivery: DeliveryObject,
    failed_attempts: Vec<FailedAttemptObject>,
}

#[derive(Debug, Serialize)]
struct FailedAttemptObject {
    number: u32,
    at: Timestamp,
    status: Option<u16>,
    error: String,
}

pub async fn show(
    State(state): State<InternalState>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<DeliveryDetails>, ApiError> {
    let id = parse_id(id.ok())?;
    let found = state.store.find_delivery(id).await?;
    let view = found.ok_or_else(ApiError::delivery_not_found)?;
    let failed = state.store.list_failed_attempts(id).await?.into_iter();
    let failed_attempts = failed.map(|attempt| FailedAttemptObject {
        number: attempt.number,
        at: attempt.at,
        status: attempt.status,
        error: attempt.error,
    });
    Ok(Json(DeliveryDetails {
        delivery: DeliveryObject::of(&view),
        failed_attempts: failed_attempts.collect(),
    }))
}

/// Makes a dead delivery pending with a full number of attempts. Makes a pending or held one due
/// now. Enables its endpoint if that is disabled.
///
/// A delivered one is not sent again: the endpoint has acknowledged it, and it may not remember
/// enough event ids to recognise a repeat.
pub async fn retry(
    State(state): State<InternalState>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<DeliveryObject>, ApiError> {
    let id = parse_id(id.ok())?;
    match state.recorder.retry_delivery(id).await? {
        RetryOne::Due => {}
        RetryOne::NoSuchDelivery => return Err(ApiError::delivery_not_found()),
        RetryOne::AlreadyDelivered => return Err(ApiError::already_delivered()),
    }
    info!(delivery.id = %id, "delivery {id} is to be sent again");
    let found = state.store.find_delivery(id).await?;
    let view = found.ok_or_else(ApiError::delivery_not_found)?;
    Ok(Json(DeliveryObject::of(&view)))
}

/// Makes dead deliveries pending, oldest first. Both the number per transaction and the total are
/// bounded; the response says whether more are left. With `endpoint`, also enables that endpoint,
/// even if none of its deliveries is dead.
pub async fn retry_all(
    State(state): State<InternalState>,
    RawQuery(query): RawQuery,
) -> Result<Json<Retried>, ApiError> {
    let endpoint = parse_retry_query(query.as_deref().unwrap_or_default())?;
    let mut all = Retried {
        retried: 0,
        enabled: false,
        more: true,
    };
    for _ in 0..RETRY_BATCHES_MAX {
        let retrying = (state.recorder).retry_deliveries(endpoint.clone(), RETRIED_AT_ONCE_MAX);
        match retrying.await {
            Ok(batch) => {
                all.retried += batch.deliveries;
                all.enabled |= batch.enabled;
                all.more = batch.more;
            }
            Err(error) if all.retried == 0 => return Err(error.into()),
            Err(error) => {
                let retried = all.retried;
                warn!(error = %error, retried, "a bulk retry was cut off after {retried} deliveries");
                return Err(ApiError::retried_in_part(retried));
            }
        }
        if !all.more {
            break;
        }
    }
    if let Some(endpoint) = &endpoint
        && all.retried == 0
        && !all.enabled
    {
        must_be_known(&state, endpoint)?;
    }
    let (retried, more) = (all.retried, all.more);
    info!(
        retried,
        more, "{retried} dead deliveries are to be sent again"
    );
    Ok(Json(all))
}

impl DeliveryObject {
    fn of(view: &DeliveryView) -> Self {
        let delivery = &view.delivery;
        let is_pending = delivery.state == DeliveryState::Pending;
        Self {
            id: delivery.id.0,
            event: EventName {
                id: view.event_id,
                seq: view.event_id.seq,
                r#type: view.event_type.into_str(),
            },
            submission_id: view.submission_id,
            task_id: view.task_id.clone(),
            endpoint: delivery.endpoint.to_string(),
            endpoint_disabled: view.endpoint_disabled,
            url: view.url.as_deref().map(without_query),
            state: view.state().as_str(),
            attempts: delivery.attempts,
            due_at: is_pending.then_some(delivery.due_at),
            last_status: delivery.last_status,
            last_error: delivery.last_error.clone(),
            made_at: view.made_at,
            ended_at: delivery.ended_at,
        }
    }
}

fn without_query(url: &str) -> String {
    let end = url.find(['?', '#']).unwrap_or(url.len());
    url[..end].to_owned()
}

/// Rejects the name of an endpoint for which nothing was found and that the configuration does not
/// have: most likely it is mistyped. The origin of an app's own address is never rejected, because
/// it is known only by its deliveries.
fn must_be_known(state: &InternalState, endpoint: &EndpointKey) -> Result<(), ApiError> {
    if !endpoint.is_standing() || state.endpoints.urls.get(endpoint).is_some() {
        return Ok(());
    }
    Err(ApiError::endpoint_not_found(endpoint.as_str()))
}

fn parse_id(id: Option<Path<String>>) -> Result<DeliveryId, ApiError> {
    let number = id.and_then(|Path(id)| query::parse_number(&id));
    let message = "`id` must be the number of a delivery";
    let number = number.ok_or_else(|| ApiError::invalid("id", message))?;
    Ok(DeliveryId(number))
}

fn parse_list_query(query: &str) -> Result<(DeliveryFilter, u32), ApiError> {
    let mut filter = DeliveryFilter::default();
    let mut limit = query::LIMIT_DEFAULT;
    for (name, value) in query::parameters(query, &[])? {
        match name.as_ref() {
            "state" => filter.state = Some(parse_state(&value)?),
            "endpoint" => filter.endpoint = Some(parse_endpoint(&value)?),
            "task" => filter.task = Some(query::task(tasks::parse_name(&value))?),
            "limit" => limit = query::parse_limit(&value)?,
            "cursor" => {
                let before = query::parse_number(&value).map(DeliveryId);
                filter.before = Some(query::cursor(before)?);
            }
            other => return Err(query::unknown_parameter(other, PARAMETERS)),
        }
    }
    Ok((filter, limit))
}

fn parse_retry_query(query: &str) -> Result<Option<EndpointKey>, ApiError> {
    let mut endpoint = None;
    for (name, value) in query::parameters(query, &[])? {
        match name.as_ref() {
            "endpoint" => endpoint = Some(parse_endpoint(&value)?),
            "state" if value == DeliveryState::Dead.into_str() => {}
            "state" => {
                let message =
                    "`state` must be dead: pending and held deliveries need no new attempts";
                return Err(ApiError::invalid("state", message));
            }
            other => return Err(query::unknown_parameter(other, RETRY_PARAMETERS)),
        }
    }
    Ok(endpoint)
}

fn parse_state(text: &str) -> Result<ShownState, ApiError> {
    ShownState::parse(text).ok_or_else(|| {
        let known = ShownState::ALL.map(ShownState::as_str).join(", ");
        ApiError::invalid("state", format!("`state` must be one of {known}"))
    })
}

/// Rejects U+0000 because PostgreSQL refuses it in a text value.
fn parse_endpoint(text: &str) -> Result<EndpointKey, ApiError> {
    if text.is_empty() || text.len() > ENDPOINT_BYTES_MAX || text.contains('\0') {
        let message = "`endpoint` must be the name of an endpoint, or scheme://host:port";
        return Err(ApiError::invalid("endpoint", message));
    }
    Ok(EndpointKey::parse(text))
}
