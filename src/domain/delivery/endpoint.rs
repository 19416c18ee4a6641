//! The key of a delivery queue: an endpoint of the configuration, or the origin of addresses that
//! apps named.

use std::fmt;
use std::sync::Arc;

use url::Url;

/// The name of a standing endpoint, or the origin (`scheme://host:port`) of an app's own
/// `callback_url`. A name contains no colon, so it cannot be confused with an origin.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndpointKey(Arc<str>);

impl EndpointKey {
    pub fn standing(name: &str) -> Self {
        Self(name.into())
    }

    /// The key for an app's own address: its origin.
    pub fn of_address(url: &str) -> Self {
        let origin = Url::parse(url).map(|url| url.origin().ascii_serialization());
        Self(origin.unwrap_or_else(|_| url.to_owned()).into())
    }

    /// Creates a key from its stored or requested text. Does not check it.
    pub fn parse(text: &str) -> Self {
        Self(text.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the key names an endpoint of the configuration.
    pub fn is_standing(&self) -> bool {
        !self.0.contains(':')
    }
}

impl fmt::Display for EndpointKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
