//! What a host's text alone shows: whether it is internal, and whether a pattern is well-formed.

use url::{Host, Url};

use crate::domain::egress::{self, Class, HostPattern};

/// Whether the host is this machine, the only one where http is as safe as https.
pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.to_canonical().is_loopback(),
        Some(Host::Domain(name)) => egress::is_localhost(name),
        None => false,
    }
}

/// Whether EvoLink would refuse to call this address, as far as the text shows.
pub(super) fn is_internal(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => Class::of(address.into()) != Class::Public,
        Some(Host::Ipv6(address)) => Class::of(address.into()) != Class::Public,
        Some(Host::Domain(name)) => egress::is_internal_name(name),
        None => false,
    }
}

/// Whether the patterns in a list of hosts may have ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ports {
    Allowed,
    Refused,
}

/// Whether the text is `host`, `*.domain` or an address; with `Ports::Allowed` also `host:port`.
pub(super) fn is_host_pattern(text: &str, ports: Ports) -> bool {
    HostPattern::parse(text)
        .is_some_and(|pattern| ports == Ports::Allowed || pattern.port.is_none())
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
