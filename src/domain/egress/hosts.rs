//! Host names and host patterns: what a name alone shows, and what an operator's list admits.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use url::Host;

/// Suffixes that are reserved for private networks, or that are commonly used in them.
const INTERNAL_SUFFIXES: [&str; 5] = [".localhost", ".local", ".internal", ".lan", ".home.arpa"];

/// A host pattern: `host`, `*.domain` or an address, with or without a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPattern {
    pub host: PatternHost,
    /// `None` matches any port.
    pub port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PatternHost {
    Name(String),
    /// Matches all names that end in this text, which starts with a dot: `*.a.io` matches neither
    /// `a.io` nor `ba.io`.
    Below(String),
    Address(IpAddr),
}

/// The patterns of one list of the operator.
#[derive(Clone, Debug, Default)]
pub struct AllowedHosts(Arc<[HostPattern]>);

impl HostPattern {
    /// Returns `None` if `text` is not a pattern.
    pub fn parse(text: &str) -> Option<Self> {
        let (host, port) = match split_port(text) {
            Some((host, port)) => (host, Some(port.parse().ok().filter(|port| *port != 0)?)),
            None => (text, None),
        };
        let host = PatternHost::parse(host)?;
        Some(Self { host, port })
    }

    pub fn admits(&self, host: &Host<&str>, port: u16) -> bool {
        self.port.is_none_or(|own| own == port) && self.host.admits(host)
    }
}

impl PatternHost {
    fn parse(text: &str) -> Option<Self> {
        let bracketed = text.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
        if let Some(address) = bracketed {
            let address: Ipv6Addr = address.parse().ok()?;
            return Some(Self::Address(address.to_canonical()));
        }
        let name = text.strip_prefix("*.").unwrap_or(text);
        let is_name = name.len() <= 253 && name.split('.').all(is_label);
        if !is_name {
            return None;
        }
        if name.len() < text.len() {
            return Some(Self::Below(format!(".{}", name.to_ascii_lowercase())));
        }
        // Use the parser that reads the URLs, so that a spelling means the same in both.
        match Host::parse(name).ok()? {
            Host::Domain(name) => Some(Self::Name(name)),
            Host::Ipv4(address) => Some(Self::Address(address.into())),
            Host::Ipv6(address) => Some(Self::Address(address.to_canonical())),
        }
    }

    fn admits(&self, host: &Host<&str>) -> bool {
        match (self, host) {
            (Self::Name(name), Host::Domain(host)) => name == without_root(host),
            (Self::Below(end), Host::Domain(host)) => {
                let host = without_root(host);
                host.len() > end.len() && host.ends_with(end.as_str())
            }
            (Self::Address(address), Host::Ipv4(host)) => *address == IpAddr::V4(*host),
            (Self::Address(address), Host::Ipv6(host)) => *address == host.to_canonical(),
            (Self::Name(_) | Self::Below(_), Host::Ipv4(_) | Host::Ipv6(_))
            | (Self::Address(_), Host::Domain(_)) => false,
        }
    }
}

impl AllowedHosts {
    /// Parses the patterns. A text that is not a pattern admits nothing.
    pub fn new(patterns: &[String]) -> Self {
        let patterns = patterns.iter().filter_map(|text| HostPattern::parse(text));
        Self(patterns.collect())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn admit(&self, host: &Host<&str>, port: u16) -> bool {
        self.0.iter().any(|pattern| pattern.admits(host, port))
    }
}

/// Whether a name can only belong to the operator's own network or to this machine.
pub fn is_internal_name(name: &str) -> bool {
    let name = without_root(name);
    !name.contains('.')
        || INTERNAL_SUFFIXES
            .iter()
            .any(|suffix| name.ends_with(suffix))
}

/// Whether a name means this machine (RFC 6761).
pub fn is_localhost(name: &str) -> bool {
    let name = without_root(name);
    name == "localhost" || name.ends_with(".localhost")
}

/// Removes the dot of the root domain: `a.io.` is the same name as `a.io`.
fn without_root(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

/// Splits a port off. A colon inside brackets belongs to an IPv6 address.
fn split_port(text: &str) -> Option<(&str, &str)> {
    let after_bracket = text.rfind(']').map_or(0, |at| at + 1);
    let colon = text[after_bracket..].find(':')? + after_bracket;
    Some((&text[..colon], &text[colon + 1..]))
}

fn is_label(label: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=63).contains(&label.len()) && label.bytes().all(is_plain)
}
