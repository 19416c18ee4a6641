//! Fetches result files into the storage.
//!
//! The client has no API key, no cookies and no proxy, and asks for no compression. Each URL,
//! also that of a redirect, is judged by `domain::egress::ResultRules` before a connection is made,
//! and so are the addresses of its name.

mod answer;
mod bounds;
mod failure;
mod following;
#[cfg(test)]
pub(in crate::archive) mod tests;
mod transfer;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use arc_swap::ArcSwap;
use reqwest::header::{ACCEPT_ENCODING, HeaderMap, HeaderValue};
use reqwest::{Certificate, Client, redirect, retry};
use tokio::time::sleep;

pub use bounds::{Bound, Bounds, Rate};
pub use failure::{Failure, Next, Reason};
pub use following::{Following, Head, Lost, Progress};

use answer::{Answer, Part};
use transfer::{Stop, Transfer};

use super::Digest;
use super::storage::{Growing, Storage};
use crate::domain::egress::{ANSWER_HEADER_LINES_MAX, ResultRules, Way};
use crate::egress::resolver::{JudgingResolver, LookUps};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Idle connections that are kept for the next file of the same host.
const IDLE_PER_HOST: usize = 4;
const IDLE_TIME: Duration = Duration::from_secs(30);

/// Resumptions of one transfer. Each needs `RESUMED_BYTES_MIN` more bytes than the one before, so
/// that a server that always hangs up is given up soon.
const RESUMPTIONS_MAX: u32 = 5;
/// Below this, starting again costs no more than asking for the rest.
const RESUMED_BYTES_MIN: u64 = 1024 * 1024;

/// Requests for the rest that may fail, for reasons that pass, before the transfer is given up.
const REOPEN_FAILURES_MAX: u32 = 3;
/// A server that asks for a longer pause gets it, and then a new transfer.
const REOPEN_PAUSE_MAX: Duration = Duration::from_secs(30);

/// A client for result files. All copies share their connections.
#[derive(Clone, Debug)]
pub struct Fetcher {
    guarded: Arc<ArcSwap<Guarded>>,
    bounds: Bounds,
    user_agent: Arc<str>,
    roots: Arc<[Certificate]>,
}

/// The rules, and the clients that follow them.
#[derive(Debug)]
pub struct Guarded {
    rules: ResultRules,
    /// Two clients, because a resolver knows only the name, and not by which rule its addresses
    /// must be judged.
    public: Client,
    listed: Client,
}

/// A file that was fetched and is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fetched {
    pub sha256: Digest,
    pub bytes: u64,
    pub content_type: &'static str,
    /// `None` unless it is an image, like `height`.
    pub width: Option<u32>,
    pub height: Option<u32>,
}

impl Fetcher {
    /// Trusts `roots` in addition to the system's root certificates.
    ///
    /// # Errors
    /// If a client cannot be built, for example without any root certificates.
    pub fn new(
        rules: ResultRules,
        bounds: Bounds,
        user_agent: &str,
        roots: &[Certificate],
    ) -> anyhow::Result<Self> {
        let guarded = Guarded::new(rules, user_agent, roots)?;
        Ok(Self {
            guarded: Arc::new(ArcSwap::from_pointee(guarded)),
            bounds,
            user_agent: user_agent.into(),
            roots: roots.into(),
        })
    }

    /// Makes clients for other rules, which `replace` puts in use.
    ///
    /// # Errors
    /// If a client cannot be built.
    pub fn prepare(&self, rules: ResultRules) -> anyhow::Result<Guarded> {
        Guarded::new(rules, &self.user_agent, &self.roots)
    }

    /// Requests under way keep to the rules that they began with.
    pub fn replace(&self, guarded: Guarded) {
        self.guarded.store(Arc::new(guarded));
    }

    /// Fetches the file at `url` into `storage`. When this returns, the file is whole and durable,
    /// or nothing of it is kept.
    ///
    /// # Errors
    /// `Failure` says why, and what to do next.
    pub async fn fetch(&self, storage: &Storage, url: &str) -> Result<Fetched, Failure> {
        let (progress, _) = Progress::new();
        self.fetch_with(storage, url, progress).await
    }

    /// Like `fetch`. The `Following` of `progress` gets the bytes while they arrive.
    pub async fn fetch_with(
        &self,
        storage: &Storage,
        url: &str,
        progress: Progress,
    ) -> Result<Fetched, Failure> {
        let mut growing = None;
        let fetched = self.fetch_into(storage, url, &progress, &mut growing);
        let fetched = fetched.await;
        progress.end(&fetched, storage, growing);
        fetched
    }

    /// Sets `growing` to the file that is being written. It must outlive the writer.
    async fn fetch_into(
        &self,
        storage: &Storage,
        url: &str,
        progress: &Progress,
        growing: &mut Option<Growing>,
    ) -> Result<Fetched, Failure> {
        let answer = self.open(url, None).await?;
        let writer = storage.writer().await.map_err(Failure::from)?;
        *growing = writer.growing();
        let mut transfer = Transfer::new(&self.bounds, answer.expected, writer, progress);
        match self.receive(&mut transfer, url, answer).await {
            Ok(()) => transfer.finish().await,
            Err(failure) => {
                transfer.abort().await;
                Err(failure)
            }
        }
    }

    /// Receives the whole body. Asks for the rest if the connection breaks.
    async fn receive(
        &self,
        transfer: &mut Transfer<'_>,
        url: &str,
        mut answer: Answer,
    ) -> Result<(), Failure> {
        transfer.declare(answer.bytes_total).await?;
        let mut resumed_from = 0;
        for resumption in 1.. {
            let broken = match transfer.receive(&mut answer.response).await {
                Ok(()) => break,
                Err(Stop::Failed(failure)) => return Err(failure),
                Err(Stop::Broken(failure)) => failure,
            };
            let got = transfer.bytes();
            let is_worth_it = got >= resumed_from + RESUMED_BYTES_MIN;
            let part = answer.rest_after(got);
            let (Some(part), true, true) = (part, is_worth_it, resumption <= RESUMPTIONS_MAX)
            else {
                return Err(broken);
            };
            resumed_from = got;
            sleep(self.bounds.resume_pause * resumption).await;
            answer = match self.reopen(url, &part).await {
                // A fresh URL, and with it the whole file, is for the next attempt.
                Err(gone) if gone.next == Next::FreshUrl => return Err(broken),
                reopened => reopened?,
            };
        }
        Ok(())
    }

    /// Requests the rest of a file. What has arrived is not given up for one failure.
    async fn reopen(&self, url: &str, part: &Part) -> Result<Answer, Failure> {
        let mut failures = 0;
        loop {
            // Not the URL that the redirects led to: it may have expired.
            let failure = match self.open(url, Some(part)).await {
                Err(failure) if failure.is_brief() => failure,
                reopened => return reopened,
            };
            failures += 1;
            let pause = match failure.next {
                Next::Retry { after: Some(after) } => after,
                _ => self.bounds.resume_pause * failures,
            };
            if failures > REOPEN_FAILURES_MAX || pause > REOPEN_PAUSE_MAX {
                return Err(failure);
            }
            sleep(pause).await;
        }
    }
}

impl Guarded {
    fn new(rules: ResultRules, user_agent: &str, roots: &[Certificate]) -> anyhow::Result<Self> {
        let look_ups = LookUps::default();
        let client = |way| client(&rules, way, &look_ups, user_agent, roots);
        let (public, listed) = (client(Way::Public)?, client(Way::Listed)?);
        Ok(Self {
            rules,
            public,
            listed,
        })
    }

    fn client(&self, way: Way) -> &Client {
        match way {
            Way::Public => &self.public,
            Way::Listed => &self.listed,
        }
    }
}

fn client(
    rules: &ResultRules,
    way: Way,
    look_ups: &LookUps,
    user_agent: &str,
    roots: &[Certificate],
) -> anyhow::Result<Client> {
    let rules = rules.clone();
    let judging = JudgingResolver::new(
        move |name: &str, addresses: &[IpAddr]| Ok(rules.judge_addresses(way, name, addresses)?),
        look_ups.clone(),
    );
    let identity = HeaderValue::from_static("identity");
    Client::builder()
        .dns_resolver(judging)
        .user_agent(user_agent)
        .default_headers(HeaderMap::from_iter([(ACCEPT_ENCODING, identity)]))
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_max_idle_per_host(IDLE_PER_HOST)
        .pool_idle_timeout(IDLE_TIME)
        .redirect(redirect::Policy::none())
        .retry(retry::never())
        .referer(false)
        .no_proxy()
        .http1_only()
        .http1_max_headers(ANSWER_HEADER_LINES_MAX)
        .tls_certs_merge(roots.iter().cloned())
        .build()
        .context("could not make a client for result files: install ca-certificates, or set SSL_CERT_FILE")
}
