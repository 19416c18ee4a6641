//! Translates the configuration into the settings of each component.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};
use tracing::warn;
use url::Url;

use crate::archive::fetch;
use crate::config::{self, Archive, ByteSize, Config, ConfigError};
use crate::domain::delivery::routes::{Route, Routes};
use crate::domain::delivery::{EndpointKey, Holder, LEASE};
use crate::domain::egress::{AllowedHosts, ResultRules};
use crate::domain::task::confirmation::{Confirmation, ListedHosts, Policy};
use crate::domain::task::polling::Pace;
use crate::egress::{self, Egress};
use crate::evolink::{RateLimits, USER_AGENT};
use crate::exit::{CommandError, Exit};
use crate::http::serve::limits::Limits;
use crate::observe::telemetry::CONFIGURATION;
use crate::process;
use crate::store::Location;
use crate::store::quarantine::Bounds;
use crate::store::recorder::load::IDEMPOTENCY_KEPT;
use crate::store::retention::Retention;
use crate::task_object::TaskObjects;

/// Connections that may wait to be accepted. The system may allow fewer. Beyond this, connections
/// are dropped. With SYN cookies, a client may even believe that it is connected when it is not.
/// The usual 128 did not survive a burst (measured).
const BACKLOG: u32 = 2048;

/// The listener aborts a request this long after our own deadline for it.
pub const REQUEST_GRACE: Duration = Duration::from_millis(500);

pub fn rate_limits(config: &Config) -> RateLimits {
    let evolink = &config.evolink;
    RateLimits::new(evolink.polls_per_second, evolink.submits_per_second)
}

/// Where the store is. Warns of a password that is most likely not what it should be.
///
/// # Errors
/// Names the key that is wrong.
pub fn location(config: &Config) -> Result<Location, ConfigError> {
    if let Some(odd) = config.store.password_oddity() {
        warn!(target: CONFIGURATION, "{odd}");
    }
    config.store.location()
}

/// Deliveries that may be sent at the same time. Each holds a connection and a task object.
const ATTEMPTS_AT_ONCE: usize = 256;

/// Distributes the file descriptors that the system grants between both listeners and the
/// forwarder. The public listener gets most of them. Returns the number of deliveries that may be
/// sent at the same time.
pub fn within_descriptors(mut config: Config) -> (Config, usize) {
    let listeners = config.public.max_connections + config.internal.max_connections;
    let granted = process::connections_granted(listeners + ATTEMPTS_AT_ONCE);
    let attempts = ATTEMPTS_AT_ONCE.min((granted / 8).max(1));
    let granted = granted.saturating_sub(attempts).max(1);
    config.public.max_connections = config.public.max_connections.min((granted * 2 / 3).max(1));
    config.internal.max_connections = config
        .internal
        .max_connections
        .min((granted - config.public.max_connections).max(1));
    (config, attempts)
}

pub fn pace(config: &Config) -> Pace {
    let reconcile = &config.reconcile;
    // No callback can come before the first poll where there are none.
    let first_poll_after = if config.public.has_callbacks() {
        reconcile.first_poll_after
    } else {
        reconcile.first_poll_after.min(reconcile.interval_min)
    };
    Pace {
        first_poll_after,
        interval_min: config.reconcile.interval_min,
        give_up_after: config.reconcile.give_up_after,
    }
}

/// The endpoints that receive outcomes. New deliveries carry the lease of `holder`.
pub fn routes(config: &Config, holder: Holder) -> Routes {
    let standing = config.forward.endpoints.iter().map(|endpoint| Route {
        endpoint: EndpointKey::standing(&endpoint.name),
        events: endpoint
            .events
            .iter()
            .map(|event| event.event_type())
            .collect(),
    });
    Routes {
        standing: standing.collect(),
        holder,
        lease: LEASE,
    }
}

/// The URLs of the standing endpoints.
pub fn endpoints(config: &Config) -> HashMap<EndpointKey, Url> {
    let endpoints = config.forward.endpoints.iter();
    let places =
        endpoints.map(|endpoint| (EndpointKey::standing(&endpoint.name), endpoint.url.clone()));
    places.collect()
}

pub fn quarantine_bounds(config: &Config) -> Bounds {
    let quarantine = &config.quarantine;
    Bounds {
        entries_per_subject: quarantine.max_entries_per_token,
        bytes_per_subject: quarantine.max_bytes_per_token.as_u64(),
        entries: quarantine.max_entries,
        bytes: quarantine.max_bytes.as_u64(),
    }
}

/// How long rows are kept. What belongs to a task or to an event is kept no longer than that.
pub fn retention(keys: &config::Retention) -> Retention {
    let events = keys.events.min(keys.tasks);
    Retention {
        tasks: keys.tasks,
        events,
        observations: keys.observations.min(keys.tasks),
        quarantine: keys.quarantine,
        delivered: keys.deliveries.min(events),
        dead: keys.deliveries_dead.min(events),
        results: keys.results.min(keys.tasks),
        idempotency_keys: IDEMPOTENCY_KEPT,
    }
}

pub fn policy(config: &Config) -> Policy {
    Policy {
        pace: pace(config),
        confirmation: Confirmation {
            confirm: config.callbacks.confirm,
            hosts: ListedHosts::new(&config.archive.allowed_hosts),
        },
    }
}

/// Which URLs of results are fetched.
pub fn result_rules(archive: &Archive) -> ResultRules {
    ResultRules {
        allowed_hosts: AllowedHosts::new(&archive.allowed_hosts),
        allow_networks: archive.allow_networks.clone().into(),
    }
}

/// The clients for deliveries. Uses the actual addresses of the listeners, because the system may
/// have chosen the port.
///
/// # Errors
/// If a client cannot be built.
pub fn egress(config: &Config, listeners: [Option<&TcpListener>; 2]) -> anyhow::Result<Egress> {
    let listeners = listeners.map(|listener| listener?.local_addr().ok());
    let listeners: Vec<_> = listeners.into_iter().flatten().collect();
    Egress::new(egress::rules(&config.forward, &listeners), USER_AGENT)
}

/// Returns the URL by which apps reach the internal listener at `address`.
pub fn internal_base_url(config: &Config, address: SocketAddr) -> String {
    let scheme = config.internal.scheme();
    match &config.internal.base_url {
        Some(url) => url.to_string(),
        None if address.ip().is_unspecified() => {
            format!("{scheme}://localhost:{}", address.port())
        }
        None => format!("{scheme}://{address}"),
    }
}

/// Returns the builder of task objects, which shows archived files if they are archived.
pub fn task_objects(config: &Config, internal: &TcpListener) -> TaskObjects {
    match internal.local_addr() {
        Ok(address) if config.archive.enabled => TaskObjects::with_links(
            &internal_base_url(config, address),
            config.archive.rewrite_results,
        ),
        Ok(_) | Err(_) => TaskObjects::default(),
    }
}

/// The bounds of one fetch.
pub fn fetch_bounds(archive: &Archive) -> fetch::Bounds {
    let default = fetch::Bounds::default();
    let bound = |bytes_max: ByteSize, of: fetch::Bound| fetch::Bound {
        bytes_max: bytes_max.as_u64(),
        ..of
    };
    fetch::Bounds {
        image: bound(archive.max_image, default.image),
        audio: bound(archive.max_audio, default.audio),
        video: bound(archive.max_video, default.video),
        pixels_max: archive.max_pixels,
        ..default
    }
}

pub fn public_limits(config: &Config) -> Limits {
    let public = &config.public;
    Limits {
        connections_max: public.max_connections,
        connections_per_address_max: public.max_connections_per_address,
        handshake_timeout: public.handshake_timeout,
        head_timeout: public.header_timeout,
        idle_timeout: public.idle_timeout(),
        request_timeout: Some(public.request_timeout + REQUEST_GRACE),
        ..Limits::public()
    }
}

pub fn internal_limits(config: &Config) -> Limits {
    Limits {
        connections_max: config.internal.max_connections,
        // A single machine may run all apps. The connections of one API key are limited elsewhere.
        connections_per_address_max: config.internal.max_connections,
        head_timeout: config.internal.header_timeout,
        idle_timeout: config.internal.idle_timeout,
        ..Limits::internal()
    }
}

pub fn bind(key: &str, address: SocketAddr) -> Result<TcpListener, CommandError> {
    let listen = || {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        // A restart must be able to bind while connections of the previous process are still in
        // TIME_WAIT.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    listen().map_err(|error: std::io::Error| {
        CommandError::new(
            Exit::Unavailable,
            format!("{key}: cannot listen on {address}: {error}"),
        )
    })
}
