//! What the components work with, and what a changed configuration replaces while they run.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use url::Url;

use super::settings;
use crate::archive::fetch::{Fetcher, Guarded};
use crate::config::Config;
use crate::domain::delivery::routes::Routes;
use crate::domain::delivery::{EndpointKey, Holder};
use crate::domain::task::confirmation::Policy;
use crate::egress::{self, Doors, Egress, EndpointUrls};
use crate::exit::CommandError;
use crate::secrets::signing_files::{Files, SigningFiles};

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

/// Values that are ready to be used, and that may not fail any more.
pub struct Prepared {
    files: Files,
    doors: Doors,
    guarded: Option<Guarded>,
    policy: Policy,
    endpoint_urls: HashMap<EndpointKey, Url>,
    routes: Routes,
}

impl Exchange {
    /// Makes the values of `config`. Nothing changes before `put`.
    ///
    /// # Errors
    /// If a secret of an endpoint cannot be read, or if a client cannot be made.
    pub fn prepare(&self, config: &Config) -> Result<Prepared, CommandError> {
        let rules = egress::rules(&config.forward, &self.egress.listeners());
        let guard = |fetcher: &Fetcher| fetcher.prepare(settings::result_rules(&config.archive));
        Ok(Prepared {
            files: self.signing_files.prepare(&config.forward)?,
            doors: self.egress.prepare(rules)?,
            guarded: self.fetcher.as_ref().map(guard).transpose()?,
            policy: settings::policy(config),
            endpoint_urls: settings::endpoints(config),
            routes: settings::routes(config, self.holder.clone()),
        })
    }

    pub fn put(&self, prepared: Prepared) {
        self.signing_files.replace(prepared.files);
        self.egress.replace(prepared.doors);
        if let Some((fetcher, guarded)) = self.fetcher.as_ref().zip(prepared.guarded) {
            fetcher.replace(guarded);
        }
        self.policy.store(Arc::new(prepared.policy));
        // The addresses come first: a delivery to an endpoint without one would fail.
        self.endpoint_urls.replace(prepared.endpoint_urls);
        self.routes.store(Arc::new(prepared.routes));
    }
}
