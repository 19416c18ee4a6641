//! Tests from inside what no file shows: whether EvoLink accepts our key, and whether the public URL
//! leads to us as EvoLink would see it. `check --online` runs the steps once, a worker at
//! intervals.
//!
//! What only EvoLink sees stays unknown: a firewall may let this machine in and not EvoLink.

mod evolink;
mod public;

use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use strum::{IntoStaticStr, VariantArray};
use tokio::net::lookup_host;
use url::Url;

use crate::clock::Clock;
use crate::domain::callback::KeyRing;
use crate::domain::egress::Class;
use crate::domain::timestamp::Timestamp;
use crate::evolink::EvolinkClient;

/// What the steps work with.
#[derive(Clone)]
pub struct SelfTest {
    /// Why there is no client, if there is none.
    pub evolink: Result<Arc<EvolinkClient>, String>,
    pub base_url: Url,
    /// `None` before the first start has made one.
    pub key_ring: Option<Arc<KeyRing>>,
    pub clock: Clock,
}

/// The results of the last test of a running service. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct LastSelfTest(Arc<ArcSwapOption<Tested>>);

/// All steps, and when they were done.
#[derive(Clone, Debug)]
pub struct Tested {
    pub at: Timestamp,
    pub steps: Vec<Step>,
}

impl LastSelfTest {
    /// `None` before the first test is done.
    pub fn load(&self) -> Option<Arc<Tested>> {
        self.0.load_full()
    }

    pub fn store(&self, tested: Tested) {
        self.0.store(Some(Arc::new(tested)));
    }
}

/// The result of one step, for people to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub name: StepName,
    pub state: StepState,
    /// What was found, and what to do about it. Without secrets.
    pub message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr, VariantArray)]
#[strum(const_into_str, serialize_all = "snake_case")]
pub enum StepName {
    EvolinkKey,
    /// The name of `public.base_url` has addresses that EvoLink may call.
    Dns,
    /// The certificate there is one that EvoLink accepts.
    Tls,
    /// A probe that is sent there reaches a receiver with our key ring.
    Route,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepState {
    Ok,
    Failing,
    /// Not done, because a step before it failed.
    Skipped,
}

impl SelfTest {
    /// Runs all steps. Takes at most about as long as the timeouts of one call to EvoLink and one to
    /// the public URL.
    pub async fn run(&self) -> Vec<Step> {
        let (key, dns, [tls, route]) = tokio::join!(
            evolink::key(self.evolink.as_deref()),
            dns(&self.base_url),
            public::tls_and_route(&self.base_url, self.key_ring.as_deref(), &self.clock),
        );
        vec![key, dns, tls, route]
    }
}

impl Step {
    fn ok(name: StepName, message: impl Into<String>) -> Self {
        Self::new(name, StepState::Ok, message)
    }

    fn failing(name: StepName, message: impl Into<String>) -> Self {
        Self::new(name, StepState::Failing, message)
    }

    fn skipped(name: StepName, message: impl Into<String>) -> Self {
        Self::new(name, StepState::Skipped, message)
    }

    fn new(name: StepName, state: StepState, message: impl Into<String>) -> Self {
        let message = message.into();
        Self {
            name,
            state,
            message,
        }
    }
}

/// Whether EvoLink could find and would call the host of `public.base_url`.
async fn dns(base_url: &Url) -> Step {
    let name = StepName::Dns;
    let host = base_url.host_str().unwrap_or_default();
    let bare = host.trim_matches(['[', ']']);
    let port = base_url.port_or_known_default().unwrap_or(443);
    let addresses: Vec<SocketAddr> = match lookup_host((bare, port)).await {
        Ok(addresses) => addresses.collect(),
        Err(error) => {
            let message = format!(
                "{host} has no address ({error}): add it to the DNS, or correct public.base_url"
            );
            return Step::failing(name, message);
        }
    };
    let is_public = |address: &&SocketAddr| Class::of(address.ip()) == Class::Public;
    let internal = addresses.iter().find(|address| !is_public(address));
    match (addresses.first(), internal) {
        (None, _) => Step::failing(name, format!("{host} has no address")),
        (Some(_), Some(internal)) => {
            let ip = internal.ip();
            let message = format!(
                "{host} is {ip} here, an internal address, which EvoLink refuses to call. If this machine has a DNS of its own, ask another one"
            );
            Step::failing(name, message)
        }
        (Some(first), None) => Step::ok(name, format!("{host} is {}", first.ip())),
    }
}
