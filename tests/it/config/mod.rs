//! The configuration: what is refused, in exactly which line; what overrides what; that the example file is true.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use evolink_receiver::config::{Config, KeyDigest, Level, Network, Scope, TlsMode};
use serde_json::Value;

const EXAMPLE: &str = include_str!("../../../config.example.toml");
const SHA256: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

/// The least that a service starts with.
const MINIMAL: [(&str, &str); 2] = [("public.tls.mode", "off"), ("evolink.api_key", "sk-secret")];

fn env_name(key: &str) -> String {
    format!(
        "EVOLINK_RECEIVER__{}",
        key.replace('.', "__").to_uppercase()
    )
}

fn load_env(pairs: &[(&str, &str)]) -> Result<Config, String> {
    let pairs = pairs
        .iter()
        .map(|(key, value)| (env_name(key), (*value).to_owned()));
    Config::load(None, pairs).map_err(|error| error.to_string())
}

fn load_toml_env(toml: &str, env: &[(&str, &str)]) -> Result<Config, String> {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("receiver.toml");
    std::fs::write(&path, toml).expect("a file");
    let env = env
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let loaded = Config::load(Some(&path), env);
    let dir_text = format!("{}/", dir.path().display());
    loaded.map_err(|error| error.to_string().replace(&dir_text, ""))
}

fn load_toml(toml: &str) -> Result<Config, String> {
    load_toml_env(toml, &[])
}

fn as_json(config: &Config) -> Value {
    serde_json::to_value(config).expect("a configuration is JSON")
}

fn validated(config: &Config) -> String {
    config
        .validate()
        .map_or_else(|error| error.to_string(), |()| "ok".into())
}

/// The minimal configuration with one value changed.
fn minimal_but(key: &str, value: &str) -> Config {
    let mut pairs = MINIMAL.to_vec();
    pairs.retain(|(other, _)| *other != key);
    pairs.push((key, value));
    load_env(&pairs).expect(key)
}

/// The rows of a text table, `input => line`.
fn table(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let rows = text.lines().filter(|row| !row.starts_with('#'));
    rows.map(|row| row.split_once(" => ").expect(row))
}

/// `key = value` lines of the example, and its optional keys with the `#` taken off.
fn example_with_optional_keys() -> String {
    let is_optional = |line: &str| {
        let starts_key = line.starts_with(|c: char| c.is_ascii_lowercase()) && line.contains(" = ");
        starts_key || line.starts_with("[[")
    };
    EXAMPLE.lines().fold(String::new(), |mut text, line| {
        let optional = line.strip_prefix('#').filter(|rest| is_optional(rest));
        writeln!(text, "{}", optional.unwrap_or(line)).expect("a String takes all");
        text
    })
}

/// Every key of a configuration, dotted; those of list entries without the index.
fn keys(value: &Value, prefix: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                let dot = if prefix.is_empty() { "" } else { "." };
                keys(field, &format!("{prefix}{dot}{name}"), found);
            }
        }
        Value::Array(entries) if entries.iter().any(Value::is_object) => {
            for entry in entries {
                keys(entry, prefix, found);
            }
        }
        _ => {
            found.insert(prefix.to_owned());
        }
    }
}

#[test]
fn example_file_is_the_default() {
    let example = load_toml(EXAMPLE).expect("the example parses");
    assert_eq!(as_json(&example), as_json(&Config::default()));
    // The other way round: a default that is not spelled out in the file would pass the line above.
    let default = as_json(&Config::default());
    let raw: ::config::Config = ::config::Config::builder()
        .add_source(::config::File::from_str(
            EXAMPLE,
            ::config::FileFormat::Toml,
        ))
        .build()
        .expect("the example is TOML");
    let raw: Value = raw.try_deserialize().expect("TOML is JSON here");
    let (mut listed, mut expected) = (BTreeSet::new(), BTreeSet::new());
    keys(&raw, "", &mut listed);
    keys(&default, "", &mut expected);
    for key in [
        "public.tls.cert_file",
        "public.tls.key_file",
        "evolink.api_key",
        "evolink.api_key_file",
        "internal.api_keys",
        "forward.endpoints",
    ] {
        assert!(
            expected.remove(key),
            "{key} has no default, so it is a comment"
        );
    }
    assert_eq!(listed, expected);
}

#[test]
fn example_file_lists_every_optional_key() {
    let text = example_with_optional_keys();
    let full = load_toml(&text).expect("the optional keys parse");
    let (mut listed, mut expected) = (BTreeSet::new(), BTreeSet::new());
    keys(&as_json(&full), "", &mut expected);
    for line in [
        "cert_file",
        "key_file",
        "api_key_file",
        "api_key",
        "name",
        "sha256",
        "scopes",
        "url",
        "secret_file",
        "events",
    ] {
        let stands = text
            .lines()
            .any(|text| text.starts_with(&format!("{line} = ")));
        assert!(stands, "{line}");
    }
    let json = as_json(&full).to_string();
    assert!(!json.contains("null"), "each optional key is set: {json}");
    listed.extend(expected.iter().cloned());
    assert!(
        listed.contains("internal.api_keys.sha256") && listed.contains("forward.endpoints.events")
    );
}

#[test]
fn every_key_of_the_example_has_a_sentence() {
    let mut above = "";
    for line in EXAMPLE.lines() {
        let bare = line.strip_prefix('#').unwrap_or(line);
        let is_key = bare.starts_with(|c: char| c.is_ascii_lowercase()) && bare.contains(" = ");
        if is_key {
            assert!(above.starts_with("# ") && above.ends_with('.'), "{line}");
        }
        above = line;
    }
}

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
    let with_path_of = |chars| format!("https://hooks.acme.io/{}", "x".repeat(chars));
    let line = "public.base_url: must have at most 1877 characters, has 1878: EvoLink takes callback URLs of at most 2048";
    let long = minimal_but("public.base_url", &with_path_of(1856));
    assert_eq!(validated(&long), line);
    let longest = minimal_but("public.base_url", &with_path_of(1855));
    assert_eq!(validated(&longest), "ok");
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
            "[archive]\nallowed_hosts = ['https://x.io']".into(),
            "archive.allowed_hosts[0]: \"https://x.io\" is not a host or *.domain, without scheme, port or path",
        ),
        (
            "[forward]\nallowed_hosts = ['x.io:0']".into(),
            "forward.allowed_hosts[0]: \"x.io:0\" is not a host, *.domain, or either with :port",
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
    let mut config = load_env(&MINIMAL).expect("minimal");
    config
        .forward
        .allowed_hosts
        .push("*.svc.cluster.local:8000".into());
    let warned = config.findings().into_iter().any(|finding| {
        finding.key == "forward.allowed_hosts" && finding.message.starts_with("has no effect yet")
    });
    assert!(warned);
}

#[test]
fn environment_overrides_the_file_with_text_numbers_and_booleans() {
    let toml =
        "[public]\nmax_connections = 7\n[public.tls]\nmode = 'files'\n[evolink]\napi_key = 'file'";
    let config = load_toml_env(
        toml,
        &[
            ("EVOLINK_RECEIVER__PUBLIC__TLS__MODE", "off"),
            ("EVOLINK_RECEIVER__PUBLIC__MAX_CONNECTIONS", "12"),
            ("EVOLINK_RECEIVER__EVOLINK__ALLOW_UNKNOWN_FIELDS", "true"),
            ("EVOLINK_RECEIVER__EVOLINK__API_KEY", "0012345"),
            ("EVOLINK_RECEIVER__RETENTION__TASKS", "30d"),
            ("EVOLINK_RECEIVER__STORE__URL", ""),
            ("EVOLINK_RECEIVER_URL", "http://elsewhere"),
            ("EVOLINK_API_KEY", "ecosystem"),
        ],
    )
    .expect("loads");
    assert_eq!(config.public.tls.mode, TlsMode::Off);
    assert_eq!(config.public.max_connections, 12);
    assert!(config.evolink.allow_unknown_fields);
    assert_eq!(config.retention.tasks.as_secs(), 30 * 86_400);
    assert_eq!(config.store.url, "sqlite:data/receiver.db");
    let api_key = config.evolink.read_api_key().expect("a key");
    assert_eq!(
        secret_text(&api_key),
        "0012345",
        "a secret of digits stays text"
    );
    let unknown = load_env(&[("public.tls.modus", "x")]).expect_err("unknown");
    assert_eq!(unknown, "public.tls.modus: unknown key");
    let wrong = load_env(&[("public.max_connections", "many")]).expect_err("not a number");
    assert_eq!(
        wrong,
        "public.max_connections: invalid type: string \"many\", expected an integer"
    );
}

fn secret_text(secret: &secrecy::SecretString) -> &str {
    secrecy::ExposeSecret::expose_secret(secret)
}

#[test]
fn evolink_key_comes_from_key_then_file_then_the_ecosystem_s_variable() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("key");
    std::fs::write(&path, "from-file\n").expect("a file");
    let toml = format!("[evolink]\napi_key_file = '{}'", path.display());
    let ecosystem = [("EVOLINK_API_KEY", "from-ecosystem")];
    let read = |toml: &str, env: &[(&str, &str)]| {
        let key = load_toml_env(toml, env)
            .expect("loads")
            .evolink
            .read_api_key();
        key.map(|key| secret_text(&key).to_owned())
            .map_err(|error| error.to_string())
    };
    assert_eq!(read("", &ecosystem).as_deref(), Ok("from-ecosystem"));
    assert_eq!(read(&toml, &ecosystem).as_deref(), Ok("from-file"));
    assert_eq!(
        read("[evolink]\napi_key = 'explicit'", &ecosystem).as_deref(),
        Ok("explicit")
    );
    let missing = "evolink.api_key_file: missing: set it, or evolink.api_key, or the environment variable EVOLINK_API_KEY";
    assert_eq!(read("", &[]).expect_err("no key"), missing);
    assert_eq!(
        read("", &[("EVOLINK_API_KEY", "")]).expect_err("no key"),
        missing
    );
    std::fs::write(&path, "\n").expect("a file");
    let empty = format!("evolink.api_key_file: {} is empty", path.display());
    assert_eq!(read(&toml, &ecosystem).expect_err("empty"), empty);
    std::fs::remove_file(&path).expect("it was there");
    let absent = read(&toml, &ecosystem).expect_err("absent");
    let start = format!("evolink.api_key_file: could not read {}: ", path.display());
    assert!(absent.starts_with(&start), "{absent}");
}

#[test]
fn printing_the_configuration_shows_no_secret() {
    let mut pairs = MINIMAL.to_vec();
    pairs.push(("store.url", "postgres://receiver:sk-secret@db/x"));
    let config = load_env(&pairs).expect("loads");
    let printed = format!("{config:?} {config:#?} {}", as_json(&config));
    assert!(!printed.contains("sk-secret"), "{printed}");
    assert!(printed.contains("[redacted]"), "{printed}");
    let refused = load_env(&[("archive.url", "s3://sk-secret@bucket/x")]).expect_err("a password");
    assert_eq!(refused, "archive.url: must not hold a user or a password");
    for finding in config.findings() {
        assert!(!finding.message.contains("sk-secret"), "{finding:?}");
    }
}

#[test]
fn values_with_units_survive_a_round_trip() {
    for (text, same) in [
        ("256KiB", "256KiB"),
        ("1024B", "1KiB"),
        ("64 KiB", "64KiB"),
        ("1MiB", "1MiB"),
        ("1025B", "1025B"),
    ] {
        let size: evolink_receiver::config::ByteSize = text.parse().expect(text);
        assert_eq!(size.to_string(), same);
    }
    for bad in ["", "KiB", "1.5MiB", "-1B", "99999999999999GiB", "1kib"] {
        assert!(
            bad.parse::<evolink_receiver::config::ByteSize>().is_err(),
            "{bad}"
        );
    }
    for (text, same) in [
        ("10s", "10s"),
        ("250ms", "250ms"),
        ("24h", "1d"),
        ("90d", "90d"),
        ("1m30s", "90s"),
    ] {
        let config = load_env(&[("retention.tasks", text)]).expect(text);
        assert_eq!(as_json(&config)["retention"]["tasks"], same);
    }
    let network: Network = "10.0.0.0/8".parse().expect("CIDR");
    assert!(network.contains("10.255.0.1".parse().expect("address")));
    assert!(network.contains("::ffff:10.0.0.1".parse().expect("address")));
    assert!(!network.contains("11.0.0.1".parse().expect("address")));
    let all: Network = "::/0".parse().expect("CIDR");
    assert!(all.contains("2001:db8::1".parse().expect("address")));
    assert!(!all.contains("10.0.0.1".parse().expect("address")));
}

#[test]
fn callback_urls_keep_the_path_of_the_base_url() {
    for (base_url, url, path) in [
        (
            "https://hooks.acme.io",
            "https://hooks.acme.io/callbacks/T",
            "/callbacks/",
        ),
        (
            "https://hooks.acme.io/",
            "https://hooks.acme.io/callbacks/T",
            "/callbacks/",
        ),
        (
            "https://hooks.acme.io:8443/evolink/",
            "https://hooks.acme.io:8443/evolink/callbacks/T",
            "/evolink/callbacks/",
        ),
    ] {
        let public = load_env(&[("public.base_url", base_url)])
            .expect(base_url)
            .public;
        assert_eq!(public.callback_url("T"), url);
        assert_eq!(public.callback_path(), path);
    }
}

#[test]
fn api_keys_are_known_by_their_hash() {
    assert_eq!(KeyDigest::of("test").to_string(), SHA256);
    let upper: KeyDigest = SHA256.to_uppercase().parse().expect("hex");
    assert!(upper.matches(&KeyDigest::of("test")));
    assert!(!upper.matches(&KeyDigest::of("Test")));
    let toml = format!(
        "[[internal.api_keys]]\nname = 'web'\nsha256 = '{SHA256}'\nscopes = ['submit', 'read']"
    );
    let config = load_toml(&toml).expect("loads");
    assert_eq!(
        config.internal.api_keys[0].scopes,
        [Scope::Submit, Scope::Read]
    );
}
