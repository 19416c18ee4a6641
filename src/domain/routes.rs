//! Which endpoints an outcome is owed to: the standing ones of the configuration whose events match, and the app's own
//! address that came with the submit.

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

/// What all apps' own addresses are counted under, and all endpoints that are not in the configuration (any more). Names
/// of endpoints must be others.
pub const COUNTED_TOGETHER: [&str; 2] = ["callback_url", "other"];

/// Endpoints of the configuration, at most.
pub const STANDING_MAX: usize = 1000;

impl Routes {
    /// The endpoints that an event of this kind is owed to, each with its URL if that is the app's own.
    pub fn of<'a>(
        &'a self,
        event: EventType,
        callback_url: Option<&'a str>,
    ) -> impl Iterator<Item = (EndpointKey, Option<&'a str>)> {
        let standing = self.standing.iter();
        let wanting = standing.filter(move |route| route.events.contains(&event));
        let own = callback_url.filter(|_| event.is_outcome());
        wanting
            .map(|route| (route.endpoint.clone(), None))
            .chain(own.map(|url| (EndpointKey::of_address(url), Some(url))))
    }

    /// What deliveries to `endpoint` are counted under: names come from a closed set.
    pub fn label<'a>(&'a self, endpoint: &EndpointKey) -> &'a str {
        let mut standing = self.standing.iter();
        match standing.find(|route| route.endpoint == *endpoint) {
            Some(route) => route.endpoint.as_str(),
            None if endpoint.is_standing() => COUNTED_TOGETHER[1],
            None => COUNTED_TOGETHER[0],
        }
    }
}
