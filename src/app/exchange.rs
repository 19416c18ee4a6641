//! What the components work with, and what a changed configuration replaces while they run.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::settings;
use crate::archive::fetch::Fetcher;
use crate::config::Config;
use crate::domain::delivery::Holder;
use crate::domain::delivery::routes::Routes;
use crate::domain::task::confirmation::Policy;
use crate::egress::{self, Egress, EndpointUrls};
use crate::exit::CommandError;
use crate::secrets::signing_files::SigningFiles;

/// Where outcomes are sent to, which addresses may be called, and which results are fetched.
pub struct Exchange {
    pub routes: Arc<ArcSwap<Routes>>,
    pub policy: Arc<ArcSwap<Policy>>,
    pub endpoint_urls: EndpointUrls,
    pub signing_files: Arc<SigningFiles>,
    pub egress: Egress,
    /// `None` if no results are archived.
    pub fetcher: Option<Fetcher>,
    pub holder: Holder,
}

impl Exchange {
    /// Puts the values of `config` in use: all of them, or none.
    ///
    /// # Errors
    /// If a secret of an endpoint cannot be read, or if a client cannot be made.
    pub fn apply(&self, config: &Config) -> Result<(), CommandError> {
        let files = self.signing_files.prepare(&config.forward)?;
        let rules = egress::rules(&config.forward, &self.egress.listeners());
        let doors = self.egress.prepare(rules)?;
        let fetching = match &self.fetcher {
            Some(fetcher) => {
                let rules = settings::result_rules(&config.archive);
                Some((fetcher, fetcher.prepare(rules)?))
            }
            None => None,
        };

        self.signing_files.replace(files);
        self.egress.replace(doors);
        if let Some((fetcher, guarded)) = fetching {
            fetcher.replace(guarded);
        }
        self.policy.store(Arc::new(settings::policy(config)));
        // The addresses come first: a delivery to an endpoint without one would fail.
        self.endpoint_urls.replace(settings::endpoints(config));
        let routes = settings::routes(config, self.holder.clone());
        self.routes.store(Arc::new(routes));
        Ok(())
    }
}
