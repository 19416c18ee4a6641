//! Tests the rules with every spelling that somebody might try.

mod addresses;
mod properties;
mod results;
mod texts;

use std::net::IpAddr;

use super::*;

const OURS: &str = "10.9.9.9:8443";

fn rules(allowed: &[&str], networks: &[&str]) -> Rules {
    let allowed: Vec<_> = allowed.iter().map(ToString::to_string).collect();
    Rules {
        allowed_hosts: AllowedHosts::new(&allowed),
        allow_networks: networks.iter().map(|n| n.parse().unwrap()).collect(),
        listeners: [OURS, "0.0.0.0:9443", "[::1]:8080"]
            .iter()
            .map(|listener| listener.parse().unwrap())
            .collect(),
        is_this_machine: |address| address == ip("10.1.1.1"),
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect(text)
}

fn judged(rules: &Rules, text: &str) -> Result<(), Reason> {
    let judged = rules.judge_text(text);
    judged.map(|_| ()).map_err(|refused| refused.reason)
}

fn class(text: &str) -> Class {
    Class::of(ip(text))
}

/// Addresses that are never called.
const NEVER: [&str; 24] = [
    "0.0.0.0",
    "0.1.2.3",
    "169.254.169.254",
    "169.254.170.2",
    "169.254.0.1",
    "100.100.100.200",
    "192.0.0.192",
    "168.63.129.16",
    "224.0.0.1",
    "239.255.255.255",
    "255.255.255.255",
    "::",
    "fd00:ec2::254",
    "fd20:ce::254",
    "fe80::1",
    "febf::1",
    "ff02::1",
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::a9fe:a9fe",
    "2002:a9fe:a9fe::1",
    "::ffff:0:169.254.169.254",
    "::169.254.169.254",
    "::ffff:0.0.0.0",
];
