//! The host that a request is for. A browser fills it in, and a page cannot choose it.

use std::net::{IpAddr, Ipv6Addr};

use axum::extract::Request;
use http::header;

/// A host and its port, as in `Host`, in an absolute target, and in `Origin` (RFC 9110 section 7.2,
/// RFC 3986 section 3.2). A user name or an empty port is not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    host: Host,
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    Address(IpAddr),
    /// In lower case.
    Name(String),
}

impl Authority {
    /// Returns `None` unless all of `text` is an authority.
    pub fn parse(text: &str) -> Option<Self> {
        let (host, port) = match text.strip_prefix('[') {
            Some(literal) => {
                let (address, port) = literal.split_once(']')?;
                let address: Ipv6Addr = address.parse().ok()?;
                (Host::Address(IpAddr::V6(address).to_canonical()), port)
            }
            None => {
                let (host, port) = text.split_at(text.find(':').unwrap_or(text.len()));
                (Host::parse(host)?, port)
            }
        };
        let port = match port.strip_prefix(':') {
            None if port.is_empty() => None,
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                Some(digits.parse().ok()?)
            }
            Some(_) | None => return None,
        };
        Some(Self { host, port })
    }

    pub fn is_loopback(&self) -> bool {
        match &self.host {
            Host::Address(address) => address.is_loopback(),
            Host::Name(name) => name == "localhost",
        }
    }

    /// Whether both name the same server. Where TLS ends at a proxy, one of the two has the port
    /// that the other leaves out. So the usual ports count as absent.
    pub fn is_same_server(&self, other: &Self) -> bool {
        let port = |port: Option<u16>| port.filter(|port| !matches!(port, 80 | 443));
        self.host == other.host && port(self.port) == port(other.port)
    }
}

impl Host {
    fn parse(text: &str) -> Option<Self> {
        if let Ok(address) = text.parse() {
            return Some(Self::Address(address));
        }
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        let is_name = !text.is_empty() && text.bytes().all(allowed);
        is_name.then(|| Self::Name(text.to_ascii_lowercase()))
    }
}

/// The authorities that the request names: that of an absolute target, and that of `Host`. `None`
/// if there is none, or one that is malformed.
pub fn targets(request: &Request) -> Option<Vec<Authority>> {
    let mut texts: Vec<&str> = request
        .uri()
        .authority()
        .map(http::uri::Authority::as_str)
        .into_iter()
        .collect();
    for host in request.headers().get_all(header::HOST) {
        texts.push(host.to_str().ok()?);
    }
    let targets: Option<Vec<Authority>> = texts.into_iter().map(Authority::parse).collect();
    targets.filter(|targets| !targets.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_hosts_count_as_this_machine() {
        for host in [
            "localhost",
            "LOCALHOST:8080",
            "127.0.0.1:8080",
            "127.8.0.1",
            "[::1]:8080",
            "[::1]",
            "[::ffff:127.0.0.1]:8080",
        ] {
            assert!(
                Authority::parse(host).is_some_and(|it| it.is_loopback()),
                "{host}"
            );
        }
        for host in [
            "evil.example",
            "127.0.0.1.evil.example",
            "localhost.evil.example:80",
            "10.0.0.1",
            "[::2]",
            "[fe80::1]",
        ] {
            assert!(
                Authority::parse(host).is_some_and(|it| !it.is_loopback()),
                "{host}"
            );
        }
    }

    #[test]
    fn all_of_the_text_must_be_an_authority() {
        for text in [
            "",
            ":8080",
            "[::1]evil.example",
            "[::1",
            "::1",
            "localhost:",
            "localhost:x",
            "localhost:+80",
            "localhost:80:80",
            "localhost:65536",
            "user@localhost",
            "localhost/path",
            "local host",
            "[127.0.0.1]",
        ] {
            assert_eq!(Authority::parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_usual_ports_count_as_absent() {
        let same = |a: &str, b: &str| {
            Authority::parse(a)
                .unwrap()
                .is_same_server(&Authority::parse(b).unwrap())
        };
        assert!(same("a.example", "A.example:443"));
        assert!(same("a.example:8080", "a.example:8080"));
        assert!(!same("a.example:8080", "a.example"));
        assert!(!same("a.example", "b.example"));
    }
}
