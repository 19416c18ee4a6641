//! The deliveries of one batch, and the changes to them.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::made::NewDelivery;
use crate::domain::delivery::gone::GoneAnswers;
use crate::domain::delivery::{Delivery, DeliveryId, EndpointKey};
use crate::domain::timestamp::Timestamp;

/// The deliveries of one batch: those it creates, and those its entries concern.
#[derive(Default)]
pub struct Deliveries {
    pub made: Vec<NewDelivery>,
    pub known: BTreeMap<DeliveryId, Delivery>,
    /// Standing endpoints that are disabled. Loaded only if an entry needs them.
    pub disabled: HashSet<EndpointKey>,
    /// The 410 responses of standing endpoints. Loaded with `disabled`.
    pub gone: HashMap<EndpointKey, GoneAnswers>,
    /// The deliveries of `known` that were claimed. `changed`: those that changed otherwise.
    pub claimed: BTreeSet<DeliveryId>,
    pub changed: BTreeSet<DeliveryId>,
    /// Endpoints whose state changed.
    pub endpoints: BTreeMap<EndpointKey, EndpointChange>,
    /// Attempts that failed.
    pub failed: Vec<FailedAttempt>,
    /// Changes to be counted after the commit.
    pub counted: Vec<(EndpointKey, Change)>,
    /// Whether other processes may use the store.
    pub shared: bool,
}

/// An attempt that failed, for operators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedAttempt {
    pub delivery: DeliveryId,
    /// Counted from 1 since the delivery was created or last retried by an operator.
    pub number: u32,
    pub at: Timestamp,
    /// The status of the endpoint's answer, if there was one.
    pub status: Option<u16>,
    pub error: String,
}

/// A change to a delivery that is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Delivered { was_dead: bool },
    Failed,
    Dead,
    Revived,
}

/// A change to the state of a standing endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndpointChange {
    /// It answered 410, but not often enough to be disabled.
    Suspected,
    Disabled,
    Enabled,
}
