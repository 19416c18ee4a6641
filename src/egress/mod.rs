//! Sends deliveries. The clients connect only to addresses that `domain::egress` admits.
//!
//! A literal address never reaches a resolver, so it is judged before there is a request. A name is
//! resolved once for each connection, all its addresses are judged, and the connection goes to one
//! of these. No proxies, redirects, cookies or decoders are used: nothing that could lead
//! elsewhere.

mod endpoint_urls;
mod no_answer;
pub(crate) mod resolver;
mod signed;

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use arc_swap::ArcSwap;
use reqwest::header::{ACCEPT_ENCODING, HeaderMap, HeaderValue};
use reqwest::{Certificate, Client, ClientBuilder, RequestBuilder, redirect, retry};
use tracing::warn;
use url::Url;

pub use endpoint_urls::EndpointUrls;
pub use no_answer::NoAnswer;
pub(crate) use no_answer::cause;
use resolver::{JudgingResolver, LookUps};
pub use signed::signed;

use crate::config::Forward;
use crate::domain::egress::{ANSWER_HEADER_LINES_MAX, AllowedHosts, Author, Refused, Rules};

/// The timeout of a delivery, from resolving the name to the last byte of the answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Shorter than `TIMEOUT`, so that a timeout always shows whether anything was sent.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(9);

/// Idle connections that are kept for the next delivery to the same endpoint of the configuration.
/// More would use up our file descriptors. None are kept for apps' own addresses, because apps may
/// name any number of them.
const IDLE_PER_ENDPOINT: usize = 4;
const IDLE_TIME: Duration = Duration::from_secs(30);

/// The rules in use, and the clients that follow them. All copies share them.
#[derive(Clone, Debug)]
pub struct Egress {
    current: Arc<ArcSwap<Doors>>,
    user_agent: Arc<str>,
    roots: Arc<[Certificate]>,
}

/// The rules, and a client for each kind of connection.
#[derive(Debug)]
pub struct Doors {
    rules: Rules,
    doors: Vec<Door>,
}

/// A client for connections that are judged by the same rules. There are several, because a
/// resolver knows only the name of a connection.
#[derive(Debug)]
struct Door {
    author: Author,
    /// `None` means any port that this process does not listen on.
    port: Option<u16>,
    client: Client,
}

/// The rules of the configuration. `listeners` are the addresses that this process listens on.
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
    /// If a client cannot be built.
    pub fn new(rules: Rules, user_agent: &str) -> anyhow::Result<Self> {
        Self::with_roots(rules, user_agent, &[])
    }

    /// The same as `new`, but trusts `roots` in addition to the system's root certificates.
    pub fn with_roots(
        rules: Rules,
        user_agent: &str,
        roots: &[Certificate],
    ) -> anyhow::Result<Self> {
        let doors = Doors::new(rules, user_agent, roots)?;
        Ok(Self {
            current: Arc::new(ArcSwap::from_pointee(doors)),
            user_agent: user_agent.into(),
            roots: roots.into(),
        })
    }

    /// Makes clients for other rules, which `replace` puts in use.
    ///
    /// # Errors
    /// If a client cannot be built.
    pub fn prepare(&self, rules: Rules) -> anyhow::Result<Doors> {
        Doors::new(rules, &self.user_agent, &self.roots)
    }

    /// Attempts under way keep to the rules that they began with.
    pub fn replace(&self, doors: Doors) {
        self.current.store(Arc::new(doors));
    }

    /// The addresses that this process listens on.
    pub fn listeners(&self) -> Arc<[SocketAddr]> {
        Arc::clone(&self.current.load().rules.listeners)
    }

    /// Whether an app's address is admitted, judged by its text alone, when it is submitted.
    ///
    /// # Errors
    /// `Refused` says what would have to be changed.
    pub fn judge_text(&self, callback_url: &str) -> Result<Url, Refused> {
        self.current.load().rules.judge_text(callback_url)
    }

    /// Prepares a request to an address that an app named.
    ///
    /// # Errors
    /// `Refused` if the text of the URL is refused. Sending the request may still be refused, see
    /// [`NoAnswer`].
    pub fn own(&self, callback_url: &str) -> Result<RequestBuilder, Refused> {
        let current = self.current.load();
        let url = current.rules.judge_text(callback_url)?;
        Ok(current.client(Author::App, &url).post(url))
    }

    /// Prepares a request to an endpoint of the configuration.
    ///
    /// # Errors
    /// The same as for `own`.
    pub fn standing(&self, url: &Url) -> Result<RequestBuilder, Refused> {
        let current = self.current.load();
        current.rules.judge_url(Author::Operator, url)?;
        Ok(current.client(Author::Operator, url).post(url.clone()))
    }
}

impl Doors {
    fn new(rules: Rules, user_agent: &str, roots: &[Certificate]) -> anyhow::Result<Self> {
        let mut ports: Vec<_> = rules.listeners.iter().map(SocketAddr::port).collect();
        ports.sort_unstable();
        ports.dedup();
        let ports = || std::iter::once(None).chain(ports.iter().copied().map(Some));
        let mut doors = Vec::new();
        let authors = [Author::App, Author::Operator].into_iter();
        // If no address of an app is allowed, these are refused before any client is needed. So
        // skip their clients: each of them reads all root certificates.
        let nobody_named = rules.allowed_hosts.is_empty();
        for author in authors.filter(|author| *author == Author::Operator || !nobody_named) {
            // One limit for each author: look-ups of names that apps invented must not delay the
            // operator's.
            let look_ups = LookUps::default();
            for port in ports() {
                let resolver = resolver(&rules, author, port, &look_ups);
                let client = client(&resolver, author, user_agent, roots)?;
                doors.push(Door {
                    author,
                    port,
                    client,
                });
            }
        }
        Ok(Self { rules, doors })
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

/// `port` is the port of all connections that use this resolver. `None` means any port that this
/// process does not listen on.
fn resolver(
    rules: &Rules,
    author: Author,
    port: Option<u16>,
    look_ups: &LookUps,
) -> JudgingResolver {
    let rules = rules.clone();
    // Port 0 stands for any other port, because nothing listens on it.
    let port = port.unwrap_or(0);
    JudgingResolver::new(
        move |name: &str, addresses: &[IpAddr]| {
            Ok(rules.judge_addresses(author, name, port, addresses)?)
        },
        look_ups.clone(),
    )
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
        // Endpoints in a company's network often use plain http, and must work without root
        // certificates.
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
        .http1_max_headers(ANSWER_HEADER_LINES_MAX)
}

/// Tests whether `address` belongs to this machine: the system binds a socket only to its own
/// addresses. Nothing is sent. If the test fails for another reason, the answer is yes.
fn is_this_machine(address: IpAddr) -> bool {
    match UdpSocket::bind((address, 0)) {
        Ok(_) => true,
        Err(error) => error.kind() != std::io::ErrorKind::AddrNotAvailable,
    }
}
