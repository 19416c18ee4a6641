//! A delivery as a database row.

use sqlx::FromRow;

use crate::domain::delivery::{Delivery, DeliveryId, EndpointKey, Holder, Lease};
use crate::domain::timestamp::Timestamp;
use crate::store::StoreError;

/// The columns that are read of a delivery.
macro_rules! delivery_columns {
    () => {
        "delivery.id, delivery.endpoint, delivery.state, delivery.attempts, delivery.due_at, delivery.holder, \
         delivery.lease_until, delivery.last_status, delivery.last_error, delivery.ended_at"
    };
}
pub(super) use delivery_columns;

#[derive(Debug, FromRow)]
pub struct DeliveryRow {
    pub id: i64,
    endpoint: String,
    state: String,
    attempts: i64,
    due_at: i64,
    holder: Option<String>,
    lease_until: Option<i64>,
    last_status: Option<i64>,
    last_error: Option<String>,
    ended_at: Option<i64>,
}

impl TryFrom<DeliveryRow> for Delivery {
    type Error = StoreError;

    fn try_from(row: DeliveryRow) -> Result<Self, StoreError> {
        let id = row.id;
        let corrupt = |column| corrupt(id, column);
        let lease = row.holder.zip(row.lease_until);
        let status = row.last_status.map(u16::try_from).transpose();
        Ok(Self {
            id: DeliveryId(id),
            endpoint: EndpointKey::parse(&row.endpoint),
            state: row.state.parse().map_err(|_| corrupt("state"))?,
            attempts: u32::try_from(row.attempts).map_err(|_| corrupt("attempts"))?,
            due_at: Timestamp::from_millis(row.due_at),
            lease: lease.map(|(holder, until)| Lease {
                holder: Holder::parse(&holder),
                until: Timestamp::from_millis(until),
            }),
            last_status: status.map_err(|_| corrupt("last_status"))?,
            last_error: row.last_error,
            ended_at: row.ended_at.map(Timestamp::from_millis),
        })
    }
}

pub const fn corrupt(id: i64, column: &'static str) -> StoreError {
    StoreError::Corrupt {
        table: "delivery",
        id,
        column,
    }
}
