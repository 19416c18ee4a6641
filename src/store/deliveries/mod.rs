//! Deliveries in the store. The transaction that records an outcome creates its deliveries, and
//! only the recorder changes them.

mod change;
mod count;
mod endpoints;
mod made;
mod read;
mod row;
mod work;

pub(super) use change::{Change, Deliveries, load, write};
pub(super) use made::insert;
pub use read::{DeliveryFilter, DeliveryPage, DeliveryView, STATEMENTS as READ_STATEMENTS};
pub use work::{DisabledEndpoint, DueDelivery, EndpointWork, STATEMENTS as WORK_STATEMENTS};

use crate::domain::routes::STANDING_MAX;

/// Deliveries of one event lie side by side in the table: `event_seq * 1024 + n`.
const OF_ONE_EVENT: i64 = 1024;

// The SQL of `read` and the migrations has it as a literal; and no event has more.
const _: () = assert!(OF_ONE_EVENT == 1024);
const _: () = assert!(STANDING_MAX < 1024);

/// Dead deliveries that are made pending in one transaction: more would keep callbacks waiting.
pub const RETRIED_AT_ONCE_MAX: u32 = 1000;

/// Held deliveries that become dead in one transaction, for the same reason.
const EXPIRED_AT_ONCE_MAX: i64 = 1000;
