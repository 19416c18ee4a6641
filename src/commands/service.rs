//! Where a command finds a service, and how it knows the service's certificate.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use reqwest::{Client, ClientBuilder};
use url::Url;

use crate::cli::GivenUrl;
use crate::commands::load_internal;
use crate::config::{Internal, TlsMode};
use crate::exit::{CommandError, Exit};
use crate::http::tls::Listener;
use crate::http::tls::known::Known;

/// A service as a command reaches it.
#[derive(Debug, Clone)]
pub struct Service {
    pub url: Url,
    /// The file with its certificate. `None` if the system's authorities decide.
    certificate: Option<PathBuf>,
}

impl From<Url> for Service {
    fn from(url: Url) -> Self {
        let certificate = None;
        Self { url, certificate }
    }
}

impl Service {
    /// Returns the service with the given URL, or otherwise the one that the configuration
    /// describes, as seen from its own machine. The rest of the configuration is not validated,
    /// because only one section of it is needed.
    ///
    /// # Errors
    /// The configuration cannot be read (78).
    pub fn find(given: Option<&GivenUrl>, config: Option<&Path>) -> Result<Self, CommandError> {
        match given.and_then(|given| given.0.as_ref()) {
            Some(url) => Ok(url.clone().into()),
            None => Self::of_configuration(&load_internal(config)?),
        }
    }

    fn of_configuration(internal: &Internal) -> Result<Self, CommandError> {
        let tls = &internal.tls;
        let certificate = match tls.mode {
            TlsMode::Files => tls.cert_file.clone(),
            TlsMode::SelfSigned => {
                let (cert, _) = Listener::Internal.self_signed_files(&tls.self_signed_dir);
                Some(cert)
            }
            TlsMode::Off | TlsMode::Acme => None,
        };
        let url = loopback_url(internal.scheme(), internal.listen)?;
        Ok(Self { url, certificate })
    }

    /// Whether the service is known by its configuration and has TLS.
    pub const fn has_known_certificate(&self) -> bool {
        self.certificate.is_some()
    }

    /// The settings of a client that accepts the service's certificate and no other.
    ///
    /// # Errors
    /// The certificate cannot be read (78).
    pub fn client(&self) -> Result<ClientBuilder, CommandError> {
        match &self.certificate {
            Some(file) => {
                let known = Known::in_file(file).map_err(|error| {
                    CommandError::new(Exit::Config, format!("internal.tls: {error}"))
                })?;
                known_client(known)
            }
            None => Ok(self.plain_client()),
        }
    }

    /// The settings of a client that sends no secret, and accepts any certificate of a service that
    /// is known by its configuration. The service may serve another one than is in the file now.
    ///
    /// # Errors
    /// There is no cryptography for TLS.
    pub fn client_without_secrets(&self) -> Result<ClientBuilder, CommandError> {
        match &self.certificate {
            Some(_) => known_client(Known::Any),
            None => Ok(self.plain_client()),
        }
    }

    fn plain_client(&self) -> ClientBuilder {
        let client = Client::builder();
        if self.url.scheme() == "http" {
            // A proxy from the environment is for outside addresses. Roots are for TLS only, and on
            // a system without any, reqwest would create no client at all.
            client.no_proxy().tls_certs_only([])
        } else {
            client
        }
    }
}

fn known_client(known: Known) -> Result<ClientBuilder, CommandError> {
    let tls = known.client_config().context("could not prepare TLS")?;
    let client = Client::builder().no_proxy();
    Ok(client.tls_backend_preconfigured(tls))
}

/// Returns the URL of a service that listens on `address`, as seen from its own machine.
pub fn loopback_url(scheme: &str, address: SocketAddr) -> Result<Url, CommandError> {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    let url = format!("{scheme}://{}/", SocketAddr::new(ip, address.port()));
    Ok(Url::parse(&url).context("the internal listener's address makes no URL")?)
}
