//! Configurations that are refused, with the exact error line, and those that only cause a warning.

use std::path::Path;

use evolink_receiver::config::{Config, Level};

use super::{
    MINIMAL, SHA256, env_name, load_env, load_toml, load_toml_env, minimal_but, table, validated,
};

#[test]
fn wrong_values_are_refused_in_one_line_that_names_the_key() {
    for (toml, line) in table(include_str!("values.txt")) {
        assert_eq!(load_toml(toml).expect_err(toml), line, "{toml}");
    }
}

#[test]
fn a_file_that_is_not_toml_is_refused_by_its_place_and_not_quoted() {
    let line = load_toml("[evolink]\napi_key = \"sk-secret\nx = 1").expect_err("not TOML");
    assert!(
        line.starts_with("receiver.toml: TOML parse error at line 2, column "),
        "{line}"
    );
    assert!(
        !line.contains("sk-secret") && !line.contains('\n'),
        "{line}"
    );
    let absent = Config::load(
        Some(Path::new("/nowhere/receiver.toml")),
        std::iter::empty(),
    );
    let line = absent.expect_err("no such file").to_string();
    assert!(
        line.starts_with("/nowhere/receiver.toml: could not read: "),
        "{line}"
    );
}

#[test]
fn relations_that_cannot_hold_are_refused_in_one_line_that_names_the_key() {
    for (key_value, line) in table(include_str!("relations.txt")) {
        let (key, value) = key_value.split_once(" = ").expect(key_value);
        assert_eq!(validated(&minimal_but(key, value)), line, "{key_value}");
    }
    for connections in [2, 1001] {
        let mut config = minimal_but("store.url", "postgres://u@localhost/x");
        config.store.max_connections = connections;
        let line = format!("store.max_connections: must be from 3 to 1000, is {connections}");
        assert_eq!(validated(&config), line);
    }
    let with_path_of = |chars| format!("https://hooks.acme.io/{}", "x".repeat(chars));
    let line = "public.base_url: must have at most 1877 characters, has 1878: EvoLink takes callback URLs of at most 2048";
    let long = minimal_but("public.base_url", &with_path_of(1856));
    assert_eq!(validated(&long), line);
    let longest = minimal_but("public.base_url", &with_path_of(1855));
    assert_eq!(validated(&longest), "ok");
}

#[test]
fn an_error_in_the_url_of_the_store_is_reported_once() {
    for url in [
        "postgres://u@db/x?port=abc",
        "postgres://u@db/x?sslmode=requird&sslmod=a&password=b#c",
        "postgres:x?sslmode=requird",
        "mysql://x/y?a=b&c=d",
    ] {
        let findings = minimal_but("store.url", url).findings();
        let about_it = findings.iter().filter(|finding| finding.key == "store.url");
        assert_eq!(about_it.count(), 1, "{url}: {findings:?}");
    }
}

#[test]
fn relations_in_lists_are_refused_by_the_entry_s_number() {
    let api_key = |name: &str, sha256: &str, scopes: &str| {
        format!("[[internal.api_keys]]\nname = '{name}'\nsha256 = '{sha256}'\nscopes = {scopes}\n")
    };
    let endpoint = |name: &str, url: &str, events: &str| {
        format!(
            "[[forward.endpoints]]\nname = '{name}'\nurl = '{url}'\nsecret_file = 's'\nevents = {events}\n"
        )
    };
    let other = SHA256.replace('9', "8");
    let web = api_key("web", SHA256, "['read']");
    let done = "['task.completed']";
    for (toml, line) in [
        (
            api_key("a b", SHA256, "['read']"),
            "internal.api_keys[0].name: must be 1 to 64 letters, digits, '.', '_' or '-'",
        ),
        (
            api_key("", SHA256, "['read']"),
            "internal.api_keys[0].name: must be 1 to 64 letters, digits, '.', '_' or '-'",
        ),
        (
            format!("{web}{}", api_key("web", &other, "['read']")),
            "internal.api_keys[1].name: \"web\" is another entry's name too",
        ),
        (
            format!("{web}{}", api_key("app", SHA256, "['read']")),
            "internal.api_keys[1].sha256: is another entry's too; every key needs one entry",
        ),
        (
            api_key("web", SHA256, "[]"),
            "internal.api_keys[0].scopes: must name at least one of submit, read, admin",
        ),
        (
            format!("{web}submits_per_second = 0"),
            "internal.api_keys[0].submits_per_second: must be at least 1; leave it out for no limit, or set disabled",
        ),
        (
            format!("{web}submits_per_second = 1001"),
            "internal.api_keys[0].submits_per_second: must be at most 1000, is 1001",
        ),
        (
            format!("{web}max_waiting = 0"),
            "internal.api_keys[0].max_waiting: must be at least 1; leave it out for no limit, or set disabled",
        ),
        (
            format!("{web}daily_submits = 0"),
            "internal.api_keys[0].daily_submits: must be at least 1; leave it out for no limit, or set disabled",
        ),
        (
            format!("{web}daily_credits = 0.0"),
            "internal.api_keys[0].daily_credits: must be more than 0, and at most 1000000000; leave it out for no limit",
        ),
        (
            endpoint("b", "ftp://b", done),
            "forward.endpoints[0].url: must be http or https",
        ),
        (
            endpoint("b", "http://b", "[]"),
            "forward.endpoints[0].events: must name at least one of task.completed, task.failed, task.cancelled",
        ),
        (
            endpoint("b", "http://b", done).repeat(2),
            "forward.endpoints[1].name: \"b\" is another entry's name too",
        ),
        (
            endpoint("callback_url", "http://b", done),
            "forward.endpoints[0].name: must be another: what is no endpoint of the configuration is counted under it",
        ),
        (
            (0..1001)
                .map(|n| endpoint(&n.to_string(), "http://b", done))
                .collect(),
            "forward.endpoints: must be at most 1000",
        ),
        (
            "[archive]\nallowed_hosts = ['https://x.io']".into(),
            "archive.allowed_hosts[0]: \"https://x.io\" is not a host or *.domain, without scheme, port or path",
        ),
        (
            "[forward]\nallowed_hosts = ['x.io:0']".into(),
            "forward.allowed_hosts[0]: \"x.io:0\" is not a host, *.domain, or either with :port",
        ),
        (
            "[forward]\nallowed_hosts = ['x.io', '1.2.3.256']".into(),
            "forward.allowed_hosts[1]: \"1.2.3.256\" is not a host, *.domain, or either with :port",
        ),
    ] {
        let minimal = MINIMAL.map(|(key, value)| (env_name(key), value));
        let env = minimal
            .each_ref()
            .map(|(name, value)| (name.as_str(), *value));
        let config = load_toml_env(&toml, &env).expect(&toml);
        assert_eq!(validated(&config), line, "{toml}");
    }
}

#[test]
fn the_minimal_configuration_is_valid_and_odd_things_are_warnings() {
    let config = load_env(&MINIMAL).expect("minimal");
    assert_eq!(validated(&config), "ok");
    for (key, value, warned) in [
        ("public.base_url", "https://10.0.0.1/x", "public.base_url"),
        (
            "public.base_url",
            "https://localhost:8443",
            "public.base_url",
        ),
        ("public.tls.mode", "self-signed", "public.tls.mode"),
        ("public.drain_timeout", "1s", "public.drain_timeout"),
    ] {
        let mut pairs = MINIMAL.to_vec();
        pairs.push(("public.base_url", "https://hooks.acme.io"));
        pairs.retain(|(other, _)| *other != key);
        pairs.push((key, value));
        let config = load_env(&pairs).expect(key);
        assert_eq!(validated(&config), "ok", "{key}");
        let findings = config.findings();
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert_eq!(
            (findings[0].level, findings[0].key.as_str()),
            (Level::Warning, warned)
        );
    }
}

#[test]
fn a_confirmation_that_asks_more_than_it_seems_to_is_a_warning() {
    let warned = |confirm: &str, change: fn(&mut Config)| {
        let mut pairs = MINIMAL.to_vec();
        pairs.push(("public.base_url", "https://hooks.acme.io"));
        pairs.push(("callbacks.confirm", confirm));
        let mut config = load_env(&pairs).expect(confirm);
        change(&mut config);
        assert_eq!(validated(&config), "ok", "{confirm}");
        let findings = config.findings();
        let keys = findings.into_iter().map(|finding| finding.key);
        keys.collect::<Vec<_>>()
    };
    let no_hosts: fn(&mut Config) = |config| {
        config.archive.allowed_hosts.clear();
        config.archive.enabled = false;
    };
    assert_eq!(warned("suspicious", no_hosts), ["callbacks.confirm"]);
    assert_eq!(warned("suspicious", |_| {}), [""; 0]);
    assert_eq!(warned("never", no_hosts), [""; 0]);
    assert_eq!(warned("always", no_hosts), ["evolink.polls_per_second"]);
    let enough: fn(&mut Config) = |config| config.evolink.polls_per_second = 50;
    assert_eq!(warned("always", enough), [""; 0]);
}

#[test]
fn a_repeat_window_that_ends_before_a_submit_may_is_a_warning() {
    let warned = |window: &str, timeout: &str| {
        let mut pairs = MINIMAL.to_vec();
        pairs.push(("public.base_url", "https://hooks.acme.io"));
        pairs.push(("submits.repeat_window", window));
        pairs.push(("evolink.timeout", timeout));
        let config = load_env(&pairs).expect(window);
        assert_eq!(validated(&config), "ok", "{window}");
        let findings = config.findings().into_iter();
        findings
            .map(|finding| finding.to_string())
            .collect::<Vec<_>>()
    };
    let short = warned("39s", "30s");
    assert_eq!(short.len(), 1, "{short:?}");
    assert!(
        short[0].starts_with(
            "warning submits.repeat_window: is 39s, less than evolink.timeout (30s) plus 10s"
        ),
        "{short:?}"
    );
    assert_eq!(warned("40s", "30s"), [""; 0]);
    assert_eq!(warned("5m", "5m").len(), 1);
    assert_eq!(warned("0s", "30s"), [""; 0]);
}
