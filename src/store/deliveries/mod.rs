//! Deliveries in the store. The transaction that records an outcome creates its deliveries, and
//! only the recorder changes them.

mod batch;
mod change;
mod count;
mod endpoints;
mod failed;
mod made;
mod read;
mod row;
mod work;

pub use batch::FailedAttempt;
pub(super) use batch::{Change, Deliveries};
pub(super) use change::{load, write};
pub use failed::STATEMENTS as FAILED_STATEMENTS;
pub(super) use made::insert;
pub use read::{DeliveryFilter, DeliveryPage, DeliveryView, STATEMENTS as READ_STATEMENTS};
pub use work::{DisabledEndpoint, DueDelivery, EndpointWork, STATEMENTS as WORK_STATEMENTS};

use crate::domain::delivery::routes::STANDING_MAX;

/// The deliveries of one event have adjacent ids: `event_seq * 1024 + n`.
const OF_ONE_EVENT: i64 = 1024;

// The SQL of `read` and of the migrations contains the literal 1024. No event may have more
// deliveries.
const _: () = assert!(OF_ONE_EVENT == 1024);
const _: () = assert!(STANDING_MAX < 1024);

/// The limit of dead deliveries made pending in one transaction. More would keep callbacks waiting.
pub const RETRIED_AT_ONCE_MAX: u32 = 1000;

/// The limit of held deliveries that become dead in one transaction, for the same reason.
const EXPIRED_AT_ONCE_MAX: i64 = 1000;
