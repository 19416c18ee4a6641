//! The URLs of the standing endpoints.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use url::Url;

use crate::domain::delivery::EndpointKey;

/// The URLs in use. All copies share them.
#[derive(Clone, Debug, Default)]
pub struct EndpointUrls(Arc<ArcSwap<HashMap<EndpointKey, Url>>>);

impl EndpointUrls {
    pub fn new(urls: HashMap<EndpointKey, Url>) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(urls)))
    }

    pub fn replace(&self, urls: HashMap<EndpointKey, Url>) {
        self.0.store(Arc::new(urls));
    }

    /// `None` if the configuration has no such endpoint.
    pub fn get(&self, endpoint: &EndpointKey) -> Option<Url> {
        self.0.load().get(endpoint).cloned()
    }

    /// The endpoints, in the order of their names.
    pub fn names(&self) -> Vec<EndpointKey> {
        let mut names: Vec<EndpointKey> = self.0.load().keys().cloned().collect();
        names.sort_unstable_by(|one, other| one.as_str().cmp(other.as_str()));
        names
    }
}
