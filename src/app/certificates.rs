//! Opens the certificates of both listeners.

use std::path::Path;
use std::sync::Arc;

use tracing::warn;

use crate::clock::Clock;
use crate::config::{Config, Tls, TlsMode};
use crate::exit::{CommandError, Exit};
use crate::http::tls::{Listener, TlsSource};
use crate::observe::telemetry::CONFIGURATION;

/// The certificate of each listener; `None` if it has none.
pub struct Certificates {
    pub public: Option<Arc<TlsSource>>,
    pub internal: Option<Arc<TlsSource>>,
}

impl Certificates {
    /// # Errors
    /// A pair cannot be used, with the section of the configuration that names it.
    pub fn open(config: &Config) -> Result<Self, CommandError> {
        let (public, internal) = (&config.public, &config.internal);
        let host = public.base_url.host_str();
        let name = host.unwrap_or("localhost").trim_matches(['[', ']']);
        let source = |listener, tls, host, names: &[String]| {
            let source = source(listener, tls, host, names)?;
            Ok::<_, CommandError>(source.map(Arc::new))
        };
        let of_public = || source(Listener::Public, &public.tls, host, &[name.to_owned()]);
        let of_internal = || {
            let host = internal.base_url.as_ref().and_then(|url| url.host_str());
            let names = internal.self_signed_names();
            source(Listener::Internal, &internal.tls, host, &names)
        };
        Ok(Self {
            public: (public.has_callbacks())
                .then(of_public)
                .transpose()?
                .flatten(),
            internal: of_internal()?,
        })
    }
}

/// Opens the certificate of one listener. `names` are those of a self-signed one.
fn source(
    listener: Listener,
    tls: &Tls,
    host: Option<&str>,
    names: &[String],
) -> Result<Option<TlsSource>, CommandError> {
    let section = listener.as_str();
    // Clients judge the certificate by their own clocks, which no test controls.
    let clock = Clock::System;
    let failed = |why: &dyn std::fmt::Display| {
        CommandError::new(Exit::Config, format!("{section}.tls{why}"))
    };
    let source = match tls.mode {
        TlsMode::Off => return Ok(None),
        TlsMode::Files => match (&tls.cert_file, &tls.key_file) {
            (Some(cert), Some(key)) => {
                let source = TlsSource::from_files(cert, key, clock);
                let source = source.map(|source| source.of(listener));
                source.inspect(|source| warn_of_chain(listener, host, source, cert))
            }
            _ => return Err(failed(&": mode files wants cert_file and key_file")),
        },
        TlsMode::SelfSigned => {
            TlsSource::self_signed_of(listener, &tls.self_signed_dir, names, clock)
        }
        TlsMode::Acme => return Err(failed(&".mode: acme is not in this version")),
    };
    let source = source.map_err(|error| failed(&format_args!(": {error}")))?;
    Ok(Some(source))
}

/// Warns of what clients would refuse about the certificate. Only its dates may end the callbacks of
/// a service that had them, and they are logged as they pass.
fn warn_of_chain(listener: Listener, host: Option<&str>, source: &TlsSource, cert: &Path) {
    let section = listener.as_str();
    for fault in source.faults(host.map(|host| host.trim_matches(['[', ']']))) {
        let file = cert.display();
        warn!(target: CONFIGURATION, "{section}.tls: {file}: {fault}");
    }
}
