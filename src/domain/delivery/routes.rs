//! Decides which endpoints receive an event: the standing endpoints of the configuration that want
//! its type, and the app's own address from the submit.

use std::time::Duration;

use super::{EndpointKey, Holder};
use crate::domain::event::EventType;

/// The standing endpoints, and the lease holder of new deliveries.
#[derive(Clone, Debug)]
pub struct Routes {
    pub standing: Vec<Route>,
    /// New deliveries carry the lease of this holder from the start, so that this process can send
    /// them without claiming them first.
    pub holder: Holder,
    pub lease: Duration,
}

/// One standing endpoint.
#[derive(Clone, Debug)]
pub struct Route {
    pub endpoint: EndpointKey,
    pub events: Vec<EventType>,
}

/// Labels that count several endpoints together: the apps' own addresses, and endpoints that are
/// not in the configuration (any more). No endpoint may have one of these names.
pub const COUNTED_TOGETHER: [&str; 2] = ["callback_url", "other"];

/// The maximum number of endpoints in the configuration.
pub const STANDING_MAX: usize = 1000;

impl Routes {
    /// The endpoints that receive an event of this type. The URL is present if it is the app's own.
    pub fn of<'a>(
        &'a self,
        event: EventType,
        callback_url: Option<&'a str>,
    ) -> impl Iterator<Item = (EndpointKey, Option<&'a str>)> {
        let standing = self.standing.iter();
        let wanting = standing.filter(move |route| route.events.contains(&event));
        let own = callback_url.filter(|_| event.is_for_app());
        wanting
            .map(|route| (route.endpoint.clone(), None))
            .chain(own.map(|url| (EndpointKey::of_address(url), Some(url))))
    }

    /// The label under which deliveries to `endpoint` are counted. Labels come from a closed set.
    pub fn label<'a>(&'a self, endpoint: &EndpointKey) -> &'a str {
        let mut standing = self.standing.iter();
        match standing.find(|route| route.endpoint == *endpoint) {
            Some(route) => route.endpoint.as_str(),
            None if endpoint.is_standing() => COUNTED_TOGETHER[1],
            None => COUNTED_TOGETHER[0],
        }
    }
}
