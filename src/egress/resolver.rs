//! Resolves a name and judges all its addresses. If one of them is refused, no connection is made.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

/// Half of the time that a whole delivery may take.
const LOOK_UP_TIMEOUT: Duration = Duration::from_secs(5);

/// Look-ups at the same time through one set of resolvers. Our timeout does not cancel the system's
/// look-up, which keeps its thread for up to half a minute. These threads are few, and other vital
/// work needs them too.
const LOOK_UPS_AT_ONCE: usize = 64;

/// All addresses are judged, but no more than these are tried.
const ADDRESSES_TRIED_MAX: usize = 8;

/// The resolver for all connections of one client.
#[derive(Clone)]
pub(crate) struct JudgingResolver(Arc<Inner>);

struct Inner {
    judge: Box<Judge>,
    look_ups: LookUps,
}

/// Refuses a name because of one of its addresses.
type Judge = dyn Fn(&str, &[IpAddr]) -> Result<(), ResolveError> + Send + Sync;

/// The limit on look-ups. Resolvers share it if their look-ups may delay each other.
#[derive(Clone)]
pub(crate) struct LookUps(Arc<Semaphore>);

/// A name without addresses, or a name that could not be looked up.
#[derive(Debug)]
pub(crate) struct Unresolved {
    name: String,
    why: String,
}

impl JudgingResolver {
    /// `judge` gets a name with all its addresses. Its error is a cause of the client's error.
    pub(crate) fn new(
        judge: impl Fn(&str, &[IpAddr]) -> Result<(), ResolveError> + Send + Sync + 'static,
        look_ups: LookUps,
    ) -> Self {
        let judge = Box::new(judge);
        Self(Arc::new(Inner { judge, look_ups }))
    }
}

impl Inner {
    async fn good_addresses(&self, name: &str) -> Result<Vec<IpAddr>, ResolveError> {
        let mut addresses = look_up(name, &self.look_ups).await?;
        (self.judge)(name, &addresses)?;
        addresses.truncate(ADDRESSES_TRIED_MAX);
        Ok(addresses)
    }
}

type ResolveError = Box<dyn std::error::Error + Send + Sync>;

impl Resolve for JudgingResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let inner = Arc::clone(&self.0);
        Box::pin(async move {
            let addresses = inner.good_addresses(name.as_str()).await?;
            // The client replaces port 0 with the port of the URL.
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
    /// Runs a look-up. Its permit is released when the system's call returns, even if the caller
    /// stopped waiting long before.
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

    /// Simulates a name server that does not answer until `silence` ends.
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
        // The callers have stopped waiting, but the threads are still in use.
        let good = || look_ups.ask(|| Ok(7));
        let waited = timeout(Duration::from_millis(50), good()).await;
        assert!(waited.is_err(), "one thread more");
        held.pop();
        assert_eq!(good().await.unwrap(), 7);
        let others = LookUps::default();
        assert_eq!(others.ask(|| Ok(8)).await.unwrap(), 8);
    }
}
