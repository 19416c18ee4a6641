//! Looks a name up and judges all its addresses, or there is no connection.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::domain::egress::{Author, Refused, Rules};

/// Half of what a whole delivery may take.
const LOOK_UP_TIMEOUT: Duration = Duration::from_secs(5);

/// Look-ups under way at once of all that one resolver is asked. The system's is not cut off by our limit and keeps its
/// thread for up to half a minute; those threads are few, and what is vital needs them too.
const LOOK_UPS_AT_ONCE: usize = 64;

/// All are judged; more than these are not tried.
const ADDRESSES_TRIED_MAX: usize = 8;

/// Of those connections that one client makes.
#[derive(Clone)]
pub(super) struct JudgingResolver(Arc<Inner>);

struct Inner {
    rules: Rules,
    author: Author,
    port: Option<u16>,
    look_ups: LookUps,
}

/// Shared by those resolvers whose look-ups may be in each other's way.
#[derive(Clone)]
pub(super) struct LookUps(Arc<Semaphore>);

/// A name without addresses, or nobody who would tell them.
#[derive(Debug)]
pub(super) struct Unresolved {
    name: String,
    why: String,
}

impl JudgingResolver {
    /// `port` is the one that all its connections go to; `None`: any on which we do not listen.
    pub(super) fn new(rules: Rules, author: Author, port: Option<u16>, look_ups: LookUps) -> Self {
        Self(Arc::new(Inner {
            rules,
            author,
            port,
            look_ups,
        }))
    }
}

impl Inner {
    async fn good_addresses(&self, name: &str) -> Result<Vec<IpAddr>, ResolveError> {
        let mut addresses = look_up(name, &self.look_ups).await?;
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

async fn look_up(name: &str, look_ups: &LookUps) -> Result<Vec<IpAddr>, Unresolved> {
    let unresolved = |why: String| Unresolved {
        name: name.to_owned(),
        why,
    };
    let asked = name.to_owned();
    let asking = look_ups.ask(move || (asked.as_str(), 0).to_socket_addrs());
    let found = timeout(LOOK_UP_TIMEOUT, asking).await;
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

impl LookUps {
    /// Its place is free when the system is done, however long ago somebody ceased to wait for it.
    async fn ask<T: Send + 'static>(
        &self,
        system: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let place = Arc::clone(&self.0).acquire_owned().await;
        let asking = spawn_blocking(move || {
            let _place = place;
            system()
        });
        asking.await.map_err(io::Error::other)?
    }
}

impl Default for LookUps {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(LOOK_UPS_AT_ONCE)))
    }
}

impl fmt::Display for Unresolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} could not be looked up: {}", self.name, self.why)
    }
}

impl std::error::Error for Unresolved {}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};

    use super::*;

    /// A name server that is silent until it is let go.
    async fn ask_silent(look_ups: &LookUps, silence: Receiver<()>) -> bool {
        let asking = look_ups.ask(move || {
            let _ = silence.recv();
            Ok(())
        });
        timeout(Duration::from_millis(20), asking).await.is_err()
    }

    #[tokio::test]
    async fn names_that_nobody_answers_for_hold_so_many_threads_and_no_more() {
        let look_ups = LookUps::default();
        let mut held = Vec::new();
        for _ in 0..LOOK_UPS_AT_ONCE {
            let (free, silence) = channel();
            held.push(free);
            assert!(ask_silent(&look_ups, silence).await);
        }
        // Nobody waits for them any more, but their threads are gone all the same.
        let good = || look_ups.ask(|| Ok(7));
        let waited = timeout(Duration::from_millis(50), good()).await;
        assert!(waited.is_err(), "one thread more");
        held.pop();
        assert_eq!(good().await.unwrap(), 7);
        let others = LookUps::default();
        assert_eq!(others.ask(|| Ok(8)).await.unwrap(), 8);
    }
}
