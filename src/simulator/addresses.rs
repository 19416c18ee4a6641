//! The addresses that callbacks must not go to, because EvoLink refuses internal ones.
//!
//! `Url` has already normalised literal addresses, so every spelling is recognised. Names are
//! resolved. The check runs when a task is submitted and again before each attempt, because a name
//! may resolve to another address by then.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use url::{Host, Url};

const RESOLVE_TIMEOUT: Duration = Duration::from_secs(2);

/// Returns false for a name that does not resolve. Its callbacks will fail, which is its owner's
/// problem.
pub(super) async fn is_internal(url: &Url) -> bool {
    match url.host() {
        None => true,
        Some(Host::Ipv4(address)) => is_internal_v4(address),
        Some(Host::Ipv6(address)) => is_internal_v6(address),
        Some(Host::Domain(name)) => is_local_name(name) || resolves_to_internal(name).await,
    }
}

fn is_local_name(name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}

async fn resolves_to_internal(name: &str) -> bool {
    let lookup = tokio::net::lookup_host((name, 443));
    match tokio::time::timeout(RESOLVE_TIMEOUT, lookup).await {
        Ok(Ok(mut addresses)) => addresses.any(|address| match address.ip() {
            IpAddr::V4(address) => is_internal_v4(address),
            IpAddr::V6(address) => is_internal_v6(address),
        }),
        Ok(Err(_)) | Err(_) => false,
    }
}

fn is_internal_v4(address: Ipv4Addr) -> bool {
    let [first, second, ..] = address.octets();
    first == 0
        || address.is_loopback()
        || address.is_private()
        || address.is_link_local()
        || (first == 100 && (64..128).contains(&second))
        || first >= 224
}

fn is_internal_v6(address: Ipv6Addr) -> bool {
    if let Some(inner) = address.to_ipv4_mapped() {
        return is_internal_v4(inner);
    }
    address.is_loopback()
        || address.is_unspecified()
        || address.is_unique_local()
        || address.is_unicast_link_local()
        || address.is_multicast()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn internal_addresses_are_seen_in_every_spelling() {
        for internal in [
            "127.0.0.1",
            "127.9.9.9",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "100.127.255.255",
            "0.0.0.0",
            "255.255.255.255",
            "2130706433",
            "0x7f.1",
            "①②⑦.⓪.⓪.①",
            "[::1]",
            "[::]",
            "[fc00::1]",
            "[fdff::1]",
            "[fe80::1]",
            "[::ffff:10.0.0.1]",
            "localhost",
            "LOCALHOST",
            "localhost.",
            "app.localhost",
        ] {
            let url = Url::parse(&format!("https://{internal}/x")).unwrap();
            assert!(is_internal(&url).await, "{internal}");
        }
        for public in [
            "8.8.8.8",
            "172.15.0.1",
            "172.32.0.1",
            "100.63.0.1",
            "100.128.0.1",
            "[2606:4700::1111]",
        ] {
            let url = Url::parse(&format!("https://{public}/x")).unwrap();
            assert!(!is_internal(&url).await, "{public}");
        }
    }
}
