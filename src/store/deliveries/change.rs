//! Changes to existing deliveries: loads those that a batch's entries concern, and writes those
//! that changed.

use super::batch::{Deliveries, FailedAttempt};
use super::endpoints;
use super::row::{DeliveryRow, delivery_columns};
use super::{EXPIRED_AT_ONCE_MAX, RETRIED_AT_ONCE_MAX};
use crate::domain::delivery::{AttemptEnd, Delivery, DeliveryId, EndpointKey, HELD_MAX};
use crate::domain::timestamp::Timestamp;
use crate::store::StoreError;
use crate::store::engine::rows::Rows;
use crate::store::engine::script::Script;
use crate::store::engine::value::Value;
use crate::store::engine::writer::{Writer, on_writer};
use crate::store::recorder::entry::Entry;
use crate::store::recorder::ledger::Ledger;

static LOAD: Rows<1> = Rows::new(
    concat!("SELECT ", delivery_columns!(), " FROM"),
    "CROSS JOIN delivery WHERE delivery.id = given.column1",
);

const DEAD: &str = concat!(
    "SELECT ",
    delivery_columns!(),
    " FROM delivery WHERE state = 'dead' AND state <> 'delivered' ORDER BY state, id LIMIT $1"
);
const DEAD_OF_ENDPOINT: &str = concat!(
    "SELECT ",
    delivery_columns!(),
    " FROM delivery WHERE state = 'dead' AND endpoint = $2 ORDER BY id LIMIT $1"
);

const HELD_TOO_LONG: &str = concat!(
    "SELECT ",
    delivery_columns!(),
    " FROM delivery WHERE state = 'pending' AND endpoint = $2 AND due_at <= $3 ORDER BY due_at LIMIT $1"
);

/// Writes only these columns, because setting an indexed column rewrites its index entry.
static CLAIM: Rows<3> = Rows::update("delivery", ["id", "holder", "lease_until"]);

#[rustfmt::skip] // A column takes no line of its own.
static UPDATE: Rows<9> = Rows::update("delivery", [
    "id", "holder", "lease_until", "state", "attempts", "due_at", "last_status", "last_error", "ended_at",
]);

static KEEP_FAILED: Rows<5> = Rows::new(
    "INSERT INTO failed_attempt (delivery_id, number, at, status, error)
    SELECT column1, column2, column3, column4, column5 FROM",
    "WHERE column1 IS NOT NULL ON CONFLICT (delivery_id, number) DO UPDATE
    SET at = excluded.at, status = excluded.status, error = excluded.error",
);

/// Loads the deliveries that `entries` concern.
pub async fn load(
    writer: &mut Writer,
    entries: &[&Entry],
    now: Timestamp,
    shared: bool,
) -> Result<Deliveries, StoreError> {
    let mut deliveries = Deliveries {
        shared,
        ..Deliveries::default()
    };
    let ids = entries.iter().filter_map(|entry| id_of(entry));
    let ids: Vec<_> = ids.map(|id| [id.0.into()]).collect();
    let mut rows = LOAD.fetch::<DeliveryRow>(writer, &ids).await?;
    for entry in entries {
        if let Entry::DeliveriesRetried { endpoint, limit } = entry {
            rows.extend(load_dead(writer, endpoint.as_ref(), *limit).await?);
        }
        if let Entry::HeldExpired { endpoint } = entry {
            rows.extend(load_held_too_long(writer, endpoint, now).await?);
        }
    }
    for row in rows {
        let delivery = Delivery::try_from(row)?;
        deliveries.known.insert(delivery.id, delivery);
    }
    if entries.iter().any(|entry| needs_endpoints(entry)) {
        endpoints::load(writer, &mut deliveries).await?;
    }
    Ok(deliveries)
}

/// Loads one delivery more than are to be retried. It shows whether there are more.
async fn load_dead(
    writer: &mut Writer,
    endpoint: Option<&EndpointKey>,
    limit: u32,
) -> Result<Vec<DeliveryRow>, sqlx::Error> {
    let limit = i64::from(limit.min(RETRIED_AT_ONCE_MAX)) + 1;
    match endpoint {
        None => {
            on_writer!(writer, connection => sqlx::query_as(DEAD).bind(limit).fetch_all(connection))
        }
        Some(endpoint) => on_writer!(writer, connection => sqlx::query_as(DEAD_OF_ENDPOINT)
            .bind(limit)
            .bind(endpoint.as_str())
            .fetch_all(connection)),
    }
}

async fn load_held_too_long(
    writer: &mut Writer,
    endpoint: &EndpointKey,
    now: Timestamp,
) -> Result<Vec<DeliveryRow>, sqlx::Error> {
    on_writer!(writer, connection => sqlx::query_as(HELD_TOO_LONG)
        .bind(EXPIRED_AT_ONCE_MAX)
        .bind(endpoint.as_str())
        .bind(now.before(HELD_MAX).as_millis())
        .fetch_all(connection))
}

const fn id_of(entry: &Entry) -> Option<DeliveryId> {
    match entry {
        Entry::DeliveryClaimed { id, .. }
        | Entry::DeliveryEnded { id, .. }
        | Entry::DeliveryRetried { id } => Some(*id),
        _ => None,
    }
}

/// Returns whether applying `entry` depends on which endpoints are disabled or answered 410.
fn needs_endpoints(entry: &Entry) -> bool {
    match entry {
        Entry::DeliveryEnded { end, .. } => {
            end.says_gone() || matches!(end, AttemptEnd::Delivered { .. })
        }
        Entry::DeliveryRetried { .. }
        | Entry::DeliveriesRetried { .. }
        | Entry::HeldExpired { .. } => true,
        _ => false,
    }
}

/// Writes the changed deliveries.
pub fn write(script: &mut Script, ledger: &Ledger) -> Result<(), sqlx::Error> {
    let deliveries = &ledger.deliveries;
    let claimed = deliveries.claimed.difference(&deliveries.changed);
    let claimed = claimed.filter_map(|id| deliveries.known.get(id));
    let rows: Vec<_> = claimed.map(claim_values).collect();
    CLAIM.add_to(script, &rows)?;
    let changed = deliveries.changed.iter();
    let changed = changed.filter_map(|id| deliveries.known.get(id));
    let rows: Vec<_> = changed
        .map(|delivery| {
            let [id, holder, until] = claim_values(delivery);
            [
                id,
                holder,
                until,
                delivery.state.into_str().into(),
                i64::from(delivery.attempts).into(),
                delivery.due_at.as_millis().into(),
                delivery.last_status.map(i64::from).into(),
                delivery.last_error.as_deref().into(),
                delivery.ended_at.map(Timestamp::as_millis).into(),
            ]
        })
        .collect();
    UPDATE.add_to(script, &rows)?;
    let failed = deliveries.failed.iter();
    let rows: Vec<_> = failed.map(failed_values).collect();
    KEEP_FAILED.add_to(script, &rows)?;
    endpoints::write(script, ledger)
}

fn failed_values(failed: &FailedAttempt) -> [Value<'_>; 5] {
    [
        failed.delivery.0.into(),
        i64::from(failed.number).into(),
        failed.at.as_millis().into(),
        failed.status.map(i64::from).into(),
        failed.error.as_str().into(),
    ]
}

fn claim_values(delivery: &Delivery) -> [Value<'_>; 3] {
    let lease = delivery.lease.as_ref();
    [
        delivery.id.0.into(),
        lease.map(|lease| lease.holder.as_str()).into(),
        lease.map(|lease| lease.until.as_millis()).into(),
    ]
}
