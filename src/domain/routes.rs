//! Which endpoints an outcome is owed to: the standing ones of the configuration.

use std::time::Duration;

use super::delivery::{EndpointKey, Holder};
use super::event::EventType;

/// The standing endpoints, and who sends what is made by this process.
#[derive(Clone, Debug)]
pub struct Routes {
    pub standing: Vec<Route>,
    /// What is made is born taken by this one, which sends it at once.
    pub holder: Holder,
    pub lease: Duration,
}

/// One standing endpoint.
#[derive(Clone, Debug)]
pub struct Route {
    pub endpoint: EndpointKey,
    pub events: Vec<EventType>,
}
