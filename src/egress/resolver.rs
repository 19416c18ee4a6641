//! Looks a name up and judges all its addresses, or there is no connection.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::net::lookup_host;
use tokio::time::timeout;

use crate::domain::egress::{Author, Refused, Rules};

/// Half of what a whole delivery may take.
const LOOK_UP_TIMEOUT: Duration = Duration::from_secs(5);

/// All are judged; more than these are not tried.
const ADDRESSES_TRIED_MAX: usize = 8;

/// Of those connections that one client makes.
#[derive(Clone)]
pub(super) struct JudgingResolver(Arc<Inner>);

struct Inner {
    rules: Rules,
    author: Author,
    port: Option<u16>,
}

/// A name without addresses, or nobody who would tell them.
#[derive(Debug)]
pub(super) struct Unresolved {
    name: String,
    why: String,
}

impl JudgingResolver {
    /// `port` is the one that all its connections go to; `None`: any on which we do not listen.
    pub(super) fn new(rules: Rules, author: Author, port: Option<u16>) -> Self {
        Self(Arc::new(Inner {
            rules,
            author,
            port,
        }))
    }
}

impl Inner {
    async fn good_addresses(&self, name: &str) -> Result<Vec<IpAddr>, ResolveError> {
        let mut addresses = look_up(name).await?;
        self.judge(name, &addresses)?;
        addresses.truncate(ADDRESSES_TRIED_MAX);
        Ok(addresses)
    }

    fn judge(&self, name: &str, addresses: &[IpAddr]) -> Result<(), Refused> {
        // We listen on no port 0.
        let port = self.port.unwrap_or(0);
        self.rules
            .judge_addresses(self.author, name, port, addresses)
    }
}

type ResolveError = Box<dyn std::error::Error + Send + Sync>;

impl Resolve for JudgingResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let inner = Arc::clone(&self.0);
        Box::pin(async move {
            let addresses = inner.good_addresses(name.as_str()).await?;
            // The port of the URL takes the place of 0.
            let addresses = addresses.into_iter().map(|ip| SocketAddr::new(ip, 0));
            Ok(Box::new(addresses) as Addrs)
        })
    }
}

async fn look_up(name: &str) -> Result<Vec<IpAddr>, Unresolved> {
    let unresolved = |why: String| Unresolved {
        name: name.to_owned(),
        why,
    };
    let found = timeout(LOOK_UP_TIMEOUT, lookup_host((name, 0))).await;
    let found = found
        .map_err(|_| unresolved(format!("no answer in {LOOK_UP_TIMEOUT:?}")))?
        .map_err(|error| unresolved(error.to_string()))?;
    let mut addresses = Vec::new();
    for address in found.map(|address| address.ip()) {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if addresses.is_empty() {
        return Err(unresolved("it has no address".to_owned()));
    }
    Ok(addresses)
}

impl fmt::Display for Unresolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} could not be looked up: {}", self.name, self.why)
    }
}

impl std::error::Error for Unresolved {}
