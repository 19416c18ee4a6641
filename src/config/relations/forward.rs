//! Checks where deliveries may go, and reports everything that would be refused at every delivery.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::Host;

use super::unique_name;
use crate::config::findings::Found;
use crate::config::hosts::Ports;
use crate::config::{Config, Endpoint, Forward, Level};
use crate::domain::delivery::routes::{COUNTED_TOGETHER, STANDING_MAX};
use crate::domain::egress::is_localhost;
use crate::domain::egress::network::Network;
use crate::domain::egress::{
    AllowedHosts, Author, Class, HostPattern, PatternHost, Refused, Rules,
};

const LOOPBACK: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::LOCALHOST),
    IpAddr::V6(Ipv6Addr::LOCALHOST),
];

pub(super) fn forward(found: &mut Found, config: &Config) {
    let Forward {
        allowed_hosts,
        allow_networks,
        endpoints,
        ..
    } = &config.forward;
    // Port 0 makes the system choose a port, which is not known here.
    let listeners = [config.public.listen, config.internal.listen];
    let listeners = listeners.into_iter().filter(|listen| listen.port() != 0);
    let rules = Rules {
        allowed_hosts: AllowedHosts::default(),
        allow_networks: [].into(),
        listeners: listeners.collect(),
        // The configuration does not know the other addresses of this machine.
        is_this_machine: |address| address.is_loopback(),
    };
    let key = "forward.allowed_hosts";
    super::host_patterns(found, key, allowed_hosts, Ports::Allowed);
    for (n, text) in allowed_hosts.iter().enumerate() {
        let pattern = HostPattern::parse(text);
        if let Some(refused) =
            pattern.and_then(|pattern| refusal_of_pattern(&rules, text, &pattern))
        {
            found.add(Level::Error, format!("{key}[{n}]"), refused.to_string());
        }
    }
    networks(found, allow_networks);
    let few = endpoints.len() <= STANDING_MAX;
    let message = format!("must be at most {STANDING_MAX}");
    found.error_unless(few, "forward.endpoints", message);
    let mut names = HashSet::new();
    for (n, endpoint) in endpoints.iter().enumerate() {
        let key = |field: &str| format!("forward.endpoints[{n}].{field}");
        unique_name(found, key("name"), &endpoint.name, &mut names);
        let is_free = !COUNTED_TOGETHER.contains(&endpoint.name.as_str());
        let message =
            "must be another: what is no endpoint of the configuration is counted under it";
        found.error_unless(is_free, key("name"), message);
        endpoint_url(found, &key("url"), endpoint, &rules);
        let message = "must name at least one of task.completed, task.failed, task.cancelled";
        found.error_unless(!endpoint.events.is_empty(), key("events"), message);
    }
}

fn networks(found: &mut Found, networks: &[Network]) {
    for (n, network) in networks.iter().enumerate() {
        let key = format!("forward.allow_networks[{n}]");
        let class = Class::of(network.address());
        found.warn_if(
            network.prefix_bits() == 0,
            &key,
            "is every address: each host in forward.allowed_hosts may then have private ones, whoever runs its DNS",
        );
        let without_effect =
            matches!(class, Class::Never(_) | Class::Loopback) && network.prefix_bits() >= 8;
        found.error_unless(
            !without_effect,
            key,
            format!("has {class} in it, where no name may lead whatever the networks"),
        );
    }
}

fn endpoint_url(found: &mut Found, key: &str, endpoint: &Endpoint, rules: &Rules) {
    let url = &endpoint.url;
    let is_http = ["http", "https"].contains(&url.scheme());
    found.error_unless(is_http, key, "must be http or https");
    found.error_unless(url.fragment().is_none(), key, "must not have a fragment");
    let mut judged = rules.judge_url(Author::Operator, url);
    if let (Some(Host::Domain(name)), Some(port)) = (url.host(), url.port_or_known_default())
        && is_localhost(name)
    {
        judged = rules.judge_addresses(Author::Operator, name, port, &LOOPBACK);
    }
    if let Err(refused) = judged.map_err(|refused| refused.to_string())
        && is_http
    {
        found.add(Level::Error, key, refused);
    }
}

/// Returns the refusal if the pattern itself names an address that is never called.
fn refusal_of_pattern(rules: &Rules, text: &str, pattern: &HostPattern) -> Option<Refused> {
    let addresses = match &pattern.host {
        PatternHost::Address(address) => &[*address][..],
        PatternHost::Name(name) if is_localhost(name) => &LOOPBACK,
        PatternHost::Name(_) | PatternHost::Below(_) => return None,
    };
    // Without a port, the pattern admits more than our own listeners, which are refused at each
    // delivery.
    let port = pattern.port.unwrap_or(0);
    rules
        .judge_addresses(Author::Operator, text, port, addresses)
        .err()
}
