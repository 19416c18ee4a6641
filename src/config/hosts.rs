//! What can be said of a host by its looks alone: whether it is internal, whether a pattern has the right form.

use std::net::{IpAddr, Ipv6Addr};

use url::{Host, Url};

/// This machine: the only place where http is as good as https.
pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.to_canonical().is_loopback(),
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        None => false,
    }
}

/// An address that EvoLink refuses to call, as far as the text shows.
pub(super) fn is_internal(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => is_internal_address(address.into()),
        Some(Host::Ipv6(address)) => is_internal_address(address.into()),
        Some(Host::Domain(name)) => {
            let internal_suffixes = [".localhost", ".local", ".internal", ".lan", ".home.arpa"];
            !name.trim_end_matches('.').contains('.')
                || internal_suffixes
                    .iter()
                    .any(|suffix| name.ends_with(suffix))
        }
        None => false,
    }
}

fn is_internal_address(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let [first, second, ..] = address.octets();
            address.is_loopback()
                || address.is_private()
                || address.is_link_local()
                || address.is_unspecified()
                || address.is_documentation()
                || (first == 100 && (64..128).contains(&second))
                || (first == 198 && (18..20).contains(&second))
        }
        IpAddr::V6(address) => {
            address.is_loopback()
                || address.is_unspecified()
                || address.is_unique_local()
                || address.is_unicast_link_local()
        }
    }
}

/// Whether a list of allowed hosts may hold the ports that go with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ports {
    Allowed,
    Refused,
}

/// `host`, `*.domain`, an address; with `Ports::Allowed` also `host:port`.
pub(super) fn is_host_pattern(text: &str, ports: Ports) -> bool {
    let host = match (split_port(text), ports) {
        (Some((host, port)), Ports::Allowed) => {
            if port.parse::<u16>().is_ok_and(|port| port != 0) {
                host
            } else {
                return false;
            }
        }
        (Some(_), Ports::Refused) => return false,
        (None, _) => text,
    };
    let bracketed = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    if let Some(address) = bracketed {
        return address.parse::<Ipv6Addr>().is_ok();
    }
    let name = host.strip_prefix("*.").unwrap_or(host);
    name.len() <= 253 && name.split('.').all(is_label)
}

/// A colon inside brackets belongs to an IPv6 address.
fn split_port(text: &str) -> Option<(&str, &str)> {
    let after_bracket = text.rfind(']').map_or(0, |at| at + 1);
    let colon = text[after_bracket..].find(':')? + after_bracket;
    Some((&text[..colon], &text[colon + 1..]))
}

fn is_label(label: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=63).contains(&label.len()) && label.bytes().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::{Ports, is_host_pattern, is_internal, is_loopback};

    fn url(text: &str) -> url::Url {
        url::Url::parse(text).expect(text)
    }

    #[test]
    fn internal_addresses_are_known_in_every_spelling() {
        for internal in [
            "https://127.0.0.1",
            "https://2130706433",
            "https://10.1.2.3:8443/x",
            "https://172.31.0.1",
            "https://192.168.1.1",
            "https://169.254.169.254",
            "https://100.64.0.1",
            "https://[::1]",
            "https://[fd00::1]",
            "https://[::ffff:10.0.0.1]",
            "https://localhost",
            "https://receiver",
            "https://hooks.internal",
        ] {
            assert!(is_internal(&url(internal)), "{internal}");
        }
        for public in [
            "https://hooks.acme.io",
            "https://8.8.8.8",
            "https://172.32.0.1",
            "https://[2606:4700::1]",
        ] {
            assert!(!is_internal(&url(public)), "{public}");
        }
        assert!(is_loopback(&url("http://localhost:9000")));
        assert!(!is_loopback(&url("http://10.0.0.1")));
        assert!(!is_loopback(&url("http://localhost.evil.io")));
    }

    #[test]
    fn a_host_pattern_is_a_host_or_a_subdomain_wildcard_with_a_port_if_allowed() {
        for good in [
            "cdn.evolink.ai",
            "*.svc.cluster.local",
            "10.0.0.1",
            "[fd00::1]",
        ] {
            assert!(is_host_pattern(good, Ports::Refused), "{good}");
        }
        for good in ["*.svc.cluster.local:8000", "[fd00::1]:80", "app:1"] {
            assert!(is_host_pattern(good, Ports::Allowed), "{good}");
            assert!(!is_host_pattern(good, Ports::Refused), "{good}");
        }
        for bad in [
            "",
            "*",
            "*.",
            "https://a.b",
            "a b",
            "a..b",
            "a.*.b",
            "host:",
            "host:0",
            "host:99999",
            "a/b",
            "[::1",
        ] {
            assert!(!is_host_pattern(bad, Ports::Allowed), "{bad}");
        }
    }
}
