//! What is owed to endpoints: made with the outcome that it tells of, and changed by the recorder alone.

mod read;
mod work;

pub use read::{DeliveryFilter, DeliveryPage, DeliveryView};
pub use work::{DisabledEndpoint, DueDelivery, EndpointWork};
