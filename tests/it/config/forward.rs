//! Configurations of deliveries that are refused, and those that only cause a warning.

use evolink_receiver::config::{Config, Level};

use super::{MINIMAL, env_name, load_toml_env};

fn loaded(toml: &str) -> Config {
    let public = ("public.base_url", "https://hooks.acme.io");
    let pairs = MINIMAL.into_iter().chain([public]);
    let env: Vec<_> = pairs.map(|(key, value)| (env_name(key), value)).collect();
    let env: Vec<_> = env
        .iter()
        .map(|(name, value)| (name.as_str(), *value))
        .collect();
    load_toml_env(toml, &env).expect(toml)
}

/// The single finding with its level; `None` if there is no finding.
fn finding(toml: &str) -> Option<(Level, String)> {
    let mut findings = loaded(toml).findings().into_iter();
    let first = findings.next()?;
    assert_eq!(findings.next(), None, "{toml}");
    Some((first.level, format!("{}: {}", first.key, first.message)))
}

fn endpoint(url: &str) -> String {
    format!(
        "[[forward.endpoints]]\nname = 'b'\nurl = '{url}'\nsecret_file = 's'\nevents = ['task.failed']\n"
    )
}

fn allowed(host: &str) -> String {
    format!("[forward]\nallowed_hosts = ['{host}']\n")
}

fn networks(network: &str) -> String {
    format!("[forward]\nallow_networks = ['{network}']\n")
}

#[test]
fn what_would_be_refused_at_every_attempt_is_refused_at_the_start() {
    for (toml, line) in [
        (
            allowed("169.254.169.254"),
            "forward.allowed_hosts[0]: 169.254.169.254 is at 169.254.169.254, a cloud's metadata address, which is never called",
        ),
        (
            allowed("[fe80::1]:80"),
            "forward.allowed_hosts[0]: [fe80::1]:80 is at fe80::1, a link-local address, which is never called",
        ),
        (
            allowed("0"),
            "forward.allowed_hosts[0]: 0 is at 0.0.0.0, the unspecified address, which is never called",
        ),
        (
            allowed("localhost:8080"),
            "forward.allowed_hosts[0]: localhost:8080 is at 127.0.0.1:8080, where this receiver itself listens",
        ),
        (
            allowed("127.0.0.2:8443"),
            "forward.allowed_hosts[0]: 127.0.0.2:8443 is at 127.0.0.2:8443, where this receiver itself listens",
        ),
        (
            endpoint("http://169.254.169.254/latest/meta-data/?secret"),
            "forward.endpoints[0].url: 169.254.169.254:80 is at 169.254.169.254, a cloud's metadata address, which is never called",
        ),
        (
            endpoint("http://[64:ff9b::a9fe:a9fe]/"),
            "forward.endpoints[0].url: [64:ff9b::a9fe:a9fe]:80 is at 64:ff9b::a9fe:a9fe, a cloud's metadata address, which is never called",
        ),
        (
            endpoint("http://2852039166/"),
            "forward.endpoints[0].url: 169.254.169.254:80 is at 169.254.169.254, a cloud's metadata address, which is never called",
        ),
        (
            endpoint("http://127.0.0.1:8080/v1/tasks"),
            "forward.endpoints[0].url: 127.0.0.1:8080 is at 127.0.0.1:8080, where this receiver itself listens",
        ),
        (
            endpoint("http://localhost:8080/v1/tasks"),
            "forward.endpoints[0].url: localhost is at 127.0.0.1:8080, where this receiver itself listens",
        ),
        (
            endpoint("http://billing/#x"),
            "forward.endpoints[0].url: must not have a fragment",
        ),
        (
            networks("169.254.0.0/16"),
            "forward.allow_networks[0]: has a link-local address in it, where no name may lead whatever the networks",
        ),
        (
            networks("127.0.0.0/8"),
            "forward.allow_networks[0]: has a loopback address in it, where no name may lead whatever the networks",
        ),
    ] {
        assert_eq!(finding(&toml), Some((Level::Error, line.into())), "{toml}");
    }
}

#[test]
fn what_operators_write_has_no_finding_and_every_network_is_a_warning() {
    for toml in [
        allowed("*.svc.cluster.local:8000"),
        allowed("localhost"),
        allowed("127.0.0.1:9000"),
        allowed("10.0.0.1"),
        endpoint("http://127.0.0.1:9000/evolink"),
        endpoint("http://billing.internal:8000/evolink"),
        endpoint("http://10.0.0.1:8080/evolink"),
        networks("10.0.0.0/8"),
        networks("fd00::/8"),
    ] {
        assert_eq!(finding(&toml), None, "{toml}");
    }
    for network in ["0.0.0.0/0", "::/0"] {
        let (level, line) = finding(&networks(network)).expect(network);
        assert_eq!(level, Level::Warning);
        assert!(
            line.starts_with("forward.allow_networks[0]: is every address"),
            "{line}"
        );
    }
}
