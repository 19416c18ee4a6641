//! Decides from where result files may be fetched (rule B11). EvoLink names these URLs, and a
//! server may redirect to any other, so neither is trusted.
//!
//! The text of a URL is judged first, then all addresses of its name. Pure: `crate::archive`
//! resolves and connects.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use url::{Host, Url};

use super::address::{self, Class};
use super::hosts::AllowedHosts;
use super::network::Network;

/// The longest URL of a result, in bytes. EvoLink's are a few hundred bytes long.
const URL_BYTES_MAX: usize = 2048;

const HTTPS_PORT: u16 = 443;

/// The rules: the hosts of results, and the networks of tests and mirrors.
#[derive(Clone, Debug, Default)]
pub struct ResultRules {
    /// `archive.allowed_hosts`.
    pub allowed_hosts: AllowedHosts,
    /// `archive.allow_networks`: addresses in them need neither https, nor port 443, nor a name.
    pub allow_networks: Arc<[Network]>,
}

/// A URL whose text is admitted. The addresses of its name must still be judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admitted {
    pub url: Url,
    pub way: Way,
}

/// The addresses that a name may resolve to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Way {
    /// Public addresses, and those in `archive.allow_networks`. For https on port 443.
    Public,
    /// Only addresses in `archive.allow_networks`. For any other URL.
    Listed,
}

/// A URL that is not fetched. Shows the host and port, but never the path or query, which may be
/// secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedUrl {
    /// A host, with its port if it is known. Empty if there is none.
    pub target: String,
    pub fault: UrlFault,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UrlFault {
    /// Describes the text of the URL, for example `has no host`.
    Malformed(&'static str),
    NotHttps,
    NotPort443,
    Literal,
    HostNotListed,
    Address {
        address: IpAddr,
        class: Class,
    },
}

impl ResultRules {
    /// Judges the text of a URL.
    ///
    /// # Errors
    /// `RefusedUrl` has the first rule that the URL breaks.
    pub fn judge(&self, text: &str) -> Result<Admitted, RefusedUrl> {
        let malformed = |what| RefusedUrl {
            target: String::new(),
            fault: UrlFault::Malformed(what),
        };
        let url = well_formed(text).map_err(malformed)?;
        let (Some(host), Some(port)) = (url.host(), url.port_or_known_default()) else {
            return Err(malformed("has no host"));
        };
        let way = self.way(&url, &host, port).map_err(|fault| RefusedUrl {
            target: format!("{host}:{port}"),
            fault,
        })?;
        Ok(Admitted { url, way })
    }

    fn way(&self, url: &Url, host: &Host<&str>, port: u16) -> Result<Way, UrlFault> {
        let literal: Option<IpAddr> = match host {
            Host::Ipv4(address) => Some((*address).into()),
            Host::Ipv6(address) => Some((*address).into()),
            Host::Domain(_) => None,
        };
        if let Some(address) = literal {
            // An address in a listed network was meant, so it need not be listed as a host too.
            let is_listed = self.listed(address);
            return is_listed.then_some(Way::Listed).ok_or(UrlFault::Literal);
        }
        if !self.allowed_hosts.admit(host, port) {
            return Err(UrlFault::HostNotListed);
        }
        let fault = match (url.scheme(), port) {
            ("https", HTTPS_PORT) => return Ok(Way::Public),
            ("https", _) => UrlFault::NotPort443,
            _ => UrlFault::NotHttps,
        };
        // The name of a mirror. Its addresses must be in the listed networks.
        let has_mirrors = !self.allow_networks.is_empty();
        has_mirrors.then_some(Way::Listed).ok_or(fault)
    }

    /// Judges the addresses of `name`. All of them must be admitted.
    ///
    /// # Errors
    /// `RefusedUrl` names the first address that is not admitted.
    pub fn judge_addresses(
        &self,
        way: Way,
        name: &str,
        addresses: &[IpAddr],
    ) -> Result<(), RefusedUrl> {
        let is_bad = |address: &&IpAddr| {
            let is_public = way == Way::Public && Class::of(**address) == Class::Public;
            !is_public && !self.listed(**address)
        };
        match addresses.iter().find(is_bad) {
            None => Ok(()),
            Some(&address) => Err(RefusedUrl {
                target: name.to_owned(),
                fault: UrlFault::Address {
                    address,
                    class: Class::of(address),
                },
            }),
        }
    }

    /// Whether an address is in a listed network. Some addresses are never called even then.
    fn listed(&self, address: IpAddr) -> bool {
        let meant = address::meant(address);
        !matches!(Class::of(address), Class::Never(_))
            && self
                .allow_networks
                .iter()
                .any(|network| network.contains(address) || network.contains(meant))
    }
}

/// Parses a URL, and refuses everything that the URL parser would correct, so that a URL cannot be
/// read in two ways.
fn well_formed(text: &str) -> Result<Url, &'static str> {
    if text.is_empty() {
        return Err("is empty");
    }
    if text.len() > URL_BYTES_MAX {
        return Err("has more than 2048 bytes");
    }
    if text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '\\') {
        return Err("has a space, a control character or a backslash");
    }
    let not_http = "does not begin with https://";
    let (scheme, rest) = text.split_once("://").ok_or(not_http)?;
    let is_http = ["http", "https"]
        .iter()
        .any(|known| scheme.eq_ignore_ascii_case(known));
    if !is_http {
        return Err(not_http);
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.is_empty() {
        return Err("has no host");
    }
    if authority.contains('@') {
        return Err("has a user name or a password");
    }
    let url = Url::parse(text).map_err(|_| "is not a URL")?;
    if url.port_or_known_default() == Some(0) {
        return Err("has the port 0");
    }
    Ok(url)
}

impl fmt::Display for RefusedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let target = &self.target;
        match self.fault {
            UrlFault::Malformed(what) => write!(f, "the URL {what}"),
            UrlFault::NotHttps => write!(f, "{target} is not fetched: the URL is not https"),
            UrlFault::NotPort443 => write!(f, "{target} is not fetched: the port is not 443"),
            UrlFault::Literal => write!(
                f,
                "{target} is not fetched: the URL has an address instead of a name"
            ),
            UrlFault::HostNotListed => write!(
                f,
                "{target} is not fetched: archive.allowed_hosts does not list it"
            ),
            UrlFault::Address { address, class } => write!(
                f,
                "{target} is not fetched: it is at {address}, {class}, {}",
                match class {
                    Class::Never(_) => "which is never called",
                    _ => "whose network archive.allow_networks does not have",
                }
            ),
        }
    }
}

impl std::error::Error for RefusedUrl {}
