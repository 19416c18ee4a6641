//! Decides where deliveries may go.
//!
//! An app's `callback_url` is admitted only by the operator's list, and some addresses are
//! forbidden even then. An endpoint that the operator configured is refused only if its address is
//! one that is never called, or one that this process listens on.
//!
//! The submit checks the text of a URL. Each attempt checks the text and all addresses of the name,
//! by the same rules. Pure: `crate::egress` resolves names and connects.

mod address;
mod hosts;
pub mod network;
mod refused;
mod results;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use url::{Host, Url};

pub use address::{Class, Never};
pub use hosts::{AllowedHosts, HostPattern, PatternHost, is_internal_name, is_localhost};
pub use refused::{Reason, Refused};
pub use results::{Admitted, RefusedUrl, ResultRules, UrlFault, Way};

use network::Network;

/// The longest `callback_url`, in characters. EvoLink has the same bound.
pub const URL_CHARS_MAX: usize = 2048;

/// The most header lines of an answer that is read. More than any server sends, because an answer
/// with too many counts as none.
pub const ANSWER_HEADER_LINES_MAX: usize = 1000;

/// The author of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Author {
    App,
    Operator,
}

/// The rules: what is allowed, and which addresses are our own.
#[derive(Clone, Debug)]
pub struct Rules {
    /// `forward.allowed_hosts`.
    pub allowed_hosts: AllowedHosts,
    /// `forward.allow_networks`: networks that names which look public may resolve to, in addition
    /// to public addresses.
    pub allow_networks: Arc<[Network]>,
    /// The addresses that this process listens on. An app must not make it call itself.
    pub listeners: Arc<[SocketAddr]>,
    /// Whether an address belongs to this machine. Needed for listeners on the unspecified address.
    pub is_this_machine: fn(IpAddr) -> bool,
}

impl Rules {
    /// Whether an app's own address is admitted, judged by its text alone.
    ///
    /// # Errors
    /// `Refused` says what would have to be changed.
    pub fn judge_text(&self, text: &str) -> Result<Url, Refused> {
        let malformed = |what| Refused {
            target: String::new(),
            reason: Reason::Malformed(what),
        };
        let url = well_formed(text).map_err(malformed)?;
        self.judge_url(Author::App, &url)?;
        Ok(url)
    }

    /// Checks the text of a URL. The addresses of a name are checked by `judge_addresses`.
    ///
    /// # Errors
    /// The same as for `judge_text`.
    pub fn judge_url(&self, author: Author, url: &Url) -> Result<(), Refused> {
        let (Some(host), Some(port)) = (url.host(), url.port_or_known_default()) else {
            return Err(Refused {
                target: String::new(),
                reason: Reason::Malformed("has no host"),
            });
        };
        let refuse = |reason| {
            let target = format!("{host}:{port}");
            Err(Refused { target, reason })
        };
        if author == Author::App && self.allowed_hosts.is_empty() {
            return refuse(Reason::NothingListed);
        }
        if author == Author::App && !self.allowed_hosts.admit(&host, port) {
            return refuse(Reason::NotListed);
        }
        // A literal address that is listed was meant, whatever network it belongs to.
        let address = match host {
            Host::Ipv4(address) => IpAddr::V4(address),
            Host::Ipv6(address) => IpAddr::V6(address),
            Host::Domain(_) => return Ok(()),
        };
        match self.never(address, port) {
            Some(reason) => refuse(reason),
            None => Ok(()),
        }
    }

    /// Whether `name` may be connected to at `port`, given its addresses. All of them must be
    /// admitted.
    ///
    /// # Errors
    /// `Refused` names the first address that is not admitted.
    pub fn judge_addresses(
        &self,
        author: Author,
        name: &str,
        port: u16,
        addresses: &[IpAddr],
    ) -> Result<(), Refused> {
        for address in addresses {
            if let Some(reason) = self.resolved(author, name, port, *address) {
                let target = name.to_owned();
                return Err(Refused { target, reason });
            }
        }
        Ok(())
    }

    /// Returns why one address of a name is refused, if it is.
    fn resolved(&self, author: Author, name: &str, port: u16, address: IpAddr) -> Option<Reason> {
        if let Some(never) = self.never(address, port) {
            return Some(never);
        }
        if author == Author::Operator {
            return None;
        }
        let class = Class::of(address);
        let is_allowed = match class {
            Class::Public => true,
            // `forward.allow_networks` cannot allow this: a name that resolves to this machine
            // unexpectedly is an attack.
            Class::Loopback => is_localhost(name),
            Class::Private => is_internal_name(name) || self.is_in_allowed_network(address),
            Class::Reserved => self.is_in_allowed_network(address),
            Class::Never(_) => false,
        };
        (!is_allowed).then_some(Reason::Address { address, class })
    }

    /// Returns why an address is refused whatever the lists allow.
    fn never(&self, address: IpAddr, port: u16) -> Option<Reason> {
        let class = Class::of(address);
        if matches!(class, Class::Never(_)) {
            return Some(Reason::Address { address, class });
        }
        let is_ours = self.listeners.iter().any(|listener| {
            listener.port() == port
                && (same(listener.ip(), address)
                    || (listener.ip().is_unspecified() && (self.is_this_machine)(address)))
        });
        is_ours.then_some(Reason::Ours { address, port })
    }

    fn is_in_allowed_network(&self, address: IpAddr) -> bool {
        let meant = address::meant(address);
        self.allow_networks
            .iter()
            .any(|network| network.contains(address) || network.contains(meant))
    }
}

fn same(one: IpAddr, other: IpAddr) -> bool {
    address::meant(one) == address::meant(other)
}

/// Parses a URL, and refuses everything that the URL parser would correct. The parser drops tabs
/// and line breaks, adds slashes, and reads a backslash as a slash. Without corrections, a URL
/// cannot be read in two ways.
fn well_formed(text: &str) -> Result<Url, &'static str> {
    if text.chars().count() > URL_CHARS_MAX {
        return Err("has more than 2048 characters");
    }
    if text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '\\') {
        return Err("has a space, a control character or a backslash");
    }
    let not_http = "does not begin with http:// or https://";
    let (scheme, rest) = text.split_once("://").ok_or(not_http)?;
    if !["http", "https"]
        .iter()
        .any(|known| scheme.eq_ignore_ascii_case(known))
    {
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
    if url.fragment().is_some() {
        return Err("has a fragment (#)");
    }
    if url.port_or_known_default() == Some(0) {
        return Err("has the port 0");
    }
    Ok(url)
}
