//! How deliveries leave: clients that connect only where `domain::egress` lets them.
//!
//! A literal address never reaches a resolver, so it is judged before there is a request; a name is looked up once for each
//! connection, all its addresses are judged, and the connection goes to one of those that were. No proxy, no redirects, no
//! cookies, no decoders: nothing that could lead elsewhere.

mod no_answer;
mod resolver;

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use reqwest::header::{ACCEPT_ENCODING, HeaderMap, HeaderValue};
use reqwest::{Certificate, Client, ClientBuilder, RequestBuilder, redirect, retry};
use tracing::warn;
use url::Url;

pub use no_answer::NoAnswer;
use resolver::{JudgingResolver, LookUps};

use crate::config::Forward;
use crate::domain::egress::{AllowedHosts, Author, Refused, Rules};

/// From the look-up of the name to the last byte of the answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Less than the whole, so that it is always told whether anything was sent.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(9);

/// For the next delivery to the same endpoint of the configuration; one that has more must not keep our descriptors. To apps'
/// own addresses, which may be as many as they like, none is kept.
const IDLE_PER_ENDPOINT: usize = 4;
const IDLE_TIME: Duration = Duration::from_secs(30);

/// What is judged, and by which rules.
#[derive(Clone, Debug)]
pub struct Egress {
    rules: Rules,
    doors: Arc<[Door]>,
}

/// A client for those connections that are judged alike: the resolver knows of a connection no more than the name.
#[derive(Debug)]
struct Door {
    author: Author,
    /// `None`: any port on which we do not listen.
    port: Option<u16>,
    client: Client,
}

/// `listeners` are where this process listens.
pub fn rules(forward: &Forward, listeners: &[SocketAddr]) -> Rules {
    Rules {
        allowed_hosts: AllowedHosts::new(&forward.allowed_hosts),
        allow_networks: forward.allow_networks.as_slice().into(),
        listeners: listeners.into(),
        is_this_machine,
    }
}

impl Egress {
    /// # Errors
    /// If no client can be made.
    pub fn new(rules: Rules, user_agent: &str) -> anyhow::Result<Self> {
        Self::with_roots(rules, user_agent, &[])
    }

    /// As `new`, and trusts `roots` besides those of the system.
    pub fn with_roots(
        rules: Rules,
        user_agent: &str,
        roots: &[Certificate],
    ) -> anyhow::Result<Self> {
        let mut ports: Vec<_> = rules.listeners.iter().map(SocketAddr::port).collect();
        ports.sort_unstable();
        ports.dedup();
        let ports = || std::iter::once(None).chain(ports.iter().copied().map(Some));
        let mut doors = Vec::new();
        let authors = [Author::App, Author::Operator].into_iter();
        // An app's address is refused before anybody is called, if none is allowed; and each client reads all roots.
        let nobody_named = rules.allowed_hosts.is_empty();
        for author in authors.filter(|author| *author == Author::Operator || !nobody_named) {
            // Each its own: names that apps made up must not be in the way of the operator's.
            let look_ups = LookUps::default();
            for port in ports() {
                let resolver = JudgingResolver::new(rules.clone(), author, port, look_ups.clone());
                let client = client(&resolver, author, user_agent, roots)?;
                doors.push(Door {
                    author,
                    port,
                    client,
                });
            }
        }
        let doors = doors.into();
        Ok(Self { rules, doors })
    }

    /// By which an app's address is judged when it is submitted.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// A request to an address that an app gave.
    ///
    /// # Errors
    /// `Refused` if its text is; sending it may be refused still, see [`NoAnswer`].
    pub fn own(&self, callback_url: &str) -> Result<RequestBuilder, Refused> {
        let url = self.rules.judge_text(callback_url)?;
        Ok(self.client(Author::App, &url).post(url))
    }

    /// A request to an endpoint of the configuration.
    ///
    /// # Errors
    /// As `own`.
    pub fn standing(&self, url: &Url) -> Result<RequestBuilder, Refused> {
        self.rules.judge_url(Author::Operator, url)?;
        Ok(self.client(Author::Operator, url).post(url.clone()))
    }

    fn client(&self, author: Author, url: &Url) -> &Client {
        let port = url.port_or_known_default();
        let of_author = || self.doors.iter().filter(|door| door.author == author);
        let door = of_author()
            .find(|door| door.port.is_some() && door.port == port)
            .or_else(|| of_author().find(|door| door.port.is_none()));
        &door.expect("there is a door for all other ports").client
    }
}

fn client(
    resolver: &JudgingResolver,
    author: Author,
    user_agent: &str,
    roots: &[Certificate],
) -> anyhow::Result<Client> {
    let with_system = builder(resolver, author, user_agent)
        .tls_certs_merge(roots.iter().cloned())
        .build();
    with_system.or_else(|error| {
        // Endpoints inside a company are often plain http: they must not need certificates.
        let error = anyhow::Error::new(error);
        warn!("https endpoints cannot be trusted: install ca-certificates, or set SSL_CERT_FILE: {error:#}");
        builder(resolver, author, user_agent)
            .tls_certs_only(roots.iter().cloned())
            .build()
            .context("could not make a client for deliveries")
    })
}

fn builder(resolver: &JudgingResolver, author: Author, user_agent: &str) -> ClientBuilder {
    let idle_per_host = match author {
        Author::App => 0,
        Author::Operator => IDLE_PER_ENDPOINT,
    };
    let identity = HeaderValue::from_static("identity");
    Client::builder()
        .dns_resolver(resolver.clone())
        .user_agent(user_agent)
        .default_headers(HeaderMap::from_iter([(ACCEPT_ENCODING, identity)]))
        .timeout(TIMEOUT)
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_max_idle_per_host(idle_per_host)
        .pool_idle_timeout(IDLE_TIME)
        .redirect(redirect::Policy::none())
        .retry(retry::never())
        .referer(false)
        .no_proxy()
        .http1_only()
}

/// Only to an address of its own the system binds a socket. Nothing is sent. What cannot be told counts as ours.
fn is_this_machine(address: IpAddr) -> bool {
    match UdpSocket::bind((address, 0)) {
        Ok(_) => true,
        Err(error) => error.kind() != std::io::ErrorKind::AddrNotAvailable,
    }
}
