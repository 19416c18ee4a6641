//! What the configuration comes to for each part.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};
use url::Url;

use crate::clock::Clock;
use crate::config::{Config, TlsMode};
use crate::domain::confirmation::{Confirmation, ListedHosts, Policy};
use crate::domain::delivery::{EndpointKey, Holder, LEASE};
use crate::domain::egress::Rules;
use crate::domain::polling::Pace;
use crate::domain::routes::{Route, Routes};
use crate::egress;
use crate::exit::{CommandError, Exit};
use crate::http::limits::Limits;
use crate::http::tls::TlsSource;
use crate::process;
use crate::store::quarantine::Bounds;

/// Connections that may wait to be accepted; the system may allow fewer. Past it they are dropped, or, with SYN cookies,
/// a client takes itself for connected and is not: the usual 128 did not outlast a burst (measured).
const BACKLOG: u32 = 2048;

/// Beyond our own deadline, the listener cuts a request off.
pub const REQUEST_GRACE: Duration = Duration::from_millis(500);

pub fn tls_source(config: &Config) -> Result<Option<Arc<TlsSource>>, CommandError> {
    let tls = &config.public.tls;
    // Whoever calls judges the certificate by a clock of their own, which no test moves.
    let clock = Clock::System;
    let source = match tls.mode {
        TlsMode::Off => return Ok(None),
        TlsMode::Files => match (&tls.cert_file, &tls.key_file) {
            (Some(cert), Some(key)) => TlsSource::from_files(cert, key, clock),
            _ => {
                return Err(CommandError::new(
                    Exit::Config,
                    "public.tls: mode files wants cert_file and key_file",
                ));
            }
        },
        TlsMode::SelfSigned => {
            let host = config.public.base_url.host_str().unwrap_or("localhost");
            TlsSource::self_signed_in(
                &tls.self_signed_dir,
                &[host.trim_matches(['[', ']']).to_owned()],
                clock,
            )
        }
        TlsMode::Acme => {
            return Err(CommandError::new(
                Exit::Config,
                "public.tls.mode: acme is not in this version",
            ));
        }
    };
    source
        .map(|source| Some(Arc::new(source)))
        .map_err(|error| CommandError::new(Exit::Config, format!("public.tls: {error}")))
}

/// Attempts to deliver under way at once: each holds a connection and a task object.
const ATTEMPTS_AT_ONCE: usize = 256;

/// Both listeners and the forwarder share the descriptors that the system grants; the public listener comes first. Gives how
/// many attempts to deliver may be under way.
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
    Pace {
        first_poll_after: config.reconcile.first_poll_after,
        interval_min: config.reconcile.interval_min,
        give_up_after: config.reconcile.give_up_after,
    }
}

/// Where outcomes are delivered to; what this process makes, `holder` sends.
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

/// Where the standing ones are.
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

pub fn policy(config: &Config) -> Policy {
    Policy {
        pace: pace(config),
        confirmation: Confirmation {
            confirm: config.callbacks.confirm,
            hosts: ListedHosts::new(&config.archive.allowed_hosts),
        },
    }
}

/// By where we truly listen: a port may have been left to the system.
pub fn egress_rules(config: &Config, listeners: [&TcpListener; 2]) -> Rules {
    let listeners = listeners.map(|listener| listener.local_addr().ok());
    let listeners: Vec<_> = listeners.into_iter().flatten().collect();
    egress::rules(&config.forward, &listeners)
}

pub fn public_limits(config: &Config) -> Limits {
    let public = &config.public;
    Limits {
        connections_max: public.max_connections,
        connections_per_address_max: public.max_connections_per_address,
        handshake_timeout: public.handshake_timeout,
        head_timeout: public.header_timeout,
        request_timeout: Some(public.request_timeout + REQUEST_GRACE),
        ..Limits::public()
    }
}

pub fn internal_limits(config: &Config) -> Limits {
    Limits {
        connections_max: config.internal.max_connections,
        // A single machine may run all apps; what one API key may hold is counted by itself.
        connections_per_address_max: config.internal.max_connections,
        ..Limits::internal()
    }
}

pub fn bind(key: &str, address: SocketAddr) -> Result<TcpListener, CommandError> {
    let listen = || {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        // A restart must not wait for the connections of the process before to be forgotten.
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
