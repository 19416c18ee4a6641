//! The content of a loaded configuration: which source overrides which, units, and hidden secrets.

use evolink_receiver::config::{ByteSize, Config, KeyDigest, Network, Scope, TlsMode};

use super::{MINIMAL, SHA256, as_json, env_name, load_env, load_toml, load_toml_env};

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
            ("EVOLINK_RECEIVER__EVOLINK__API_KEY", "0012345678901234"),
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
        "0012345678901234",
        "a secret of digits stays text"
    );
    let unknown = load_env(&[("public.tls.modus", "x")]).expect_err("unknown");
    assert_eq!(unknown, "public.tls.modus: unknown key; did you mean mode?");
    let wrong = load_env(&[("public.max_connections", "many")]).expect_err("not a number");
    assert_eq!(
        wrong,
        "public.max_connections: must be a whole number from 0 on, is a string"
    );
}

#[test]
fn evolink_key_comes_from_key_then_file_then_the_ecosystem_s_variable() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("key");
    std::fs::write(&path, "sk-from-the-file\n").expect("a file");
    let toml = format!("[evolink]\napi_key_file = '{}'", path.display());
    let ecosystem = [("EVOLINK_API_KEY", "sk-from-ecosystem")];
    let read = |toml: &str, env: &[(&str, &str)]| {
        let key = load_toml_env(toml, env)
            .expect("loads")
            .evolink
            .read_api_key();
        key.map(|key| secret_text(&key).to_owned())
            .map_err(|error| error.to_string())
    };
    let source = |toml: &str| {
        let config = load_toml_env(toml, &ecosystem).expect("loads");
        config.evolink.key_source()
    };
    let explicit = "[evolink]\napi_key = 'sk-explicit-in-toml'";
    assert_eq!(
        [source(""), source(&toml), source(explicit)],
        ["EVOLINK_API_KEY", "evolink.api_key_file", "evolink.api_key"]
    );
    assert_eq!(read("", &ecosystem).as_deref(), Ok("sk-from-ecosystem"));
    assert_eq!(read(&toml, &ecosystem).as_deref(), Ok("sk-from-the-file"));
    assert_eq!(
        read(explicit, &ecosystem).as_deref(),
        Ok("sk-explicit-in-toml")
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
    std::fs::write(&path, "sk-one\nsk-two\n").expect("a file");
    let start = "evolink.api_key_file: holds a blank, a line break";
    let two = read(&toml, &ecosystem).expect_err("two keys");
    assert!(two.starts_with(start) && !two.contains("sk-"), "{two}");
    std::fs::write(&path, "sk-of-15-chars.\n").expect("a file");
    let short = read(&toml, &ecosystem).expect_err("too short");
    let start = "evolink.api_key_file: has fewer than 16 characters";
    assert!(
        short.starts_with(start) && !short.contains("sk-"),
        "{short}"
    );
    let simulator = "base_url = 'http://127.0.0.1:1'";
    let of_simulator = read(&format!("{toml}\n{simulator}"), &ecosystem);
    assert_eq!(of_simulator.as_deref(), Ok("sk-of-15-chars."));
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
        let size: ByteSize = text.parse().expect(text);
        assert_eq!(size.to_string(), same);
    }
    for bad in ["", "KiB", "1.5MiB", "-1B", "99999999999999GiB", "1kib"] {
        assert!(bad.parse::<ByteSize>().is_err(), "{bad}");
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
fn secret_text(secret: &secrecy::SecretString) -> &str {
    secrecy::ExposeSecret::expose_secret(secret)
}

#[test]
fn lists_come_from_the_environment_as_json() {
    let toml = format!(
        "[internal]\napi_keys = [{{ name = 'web', sha256 = '{SHA256}', scopes = ['read', 'submit'] }}]\n\
         [archive]\nallowed_hosts = ['files.evolink.ai', '*.x.io']\nallow_networks = ['10.0.0.0/8']\n\
         [forward]\nallowed_hosts = ['app:8000']\n\
         [[forward.endpoints]]\nname = 'a'\nurl = 'http://a'\nsecret_file = 's'\nevents = ['task.failed']"
    );
    let api_keys = format!(r#"[{{"name":"web","sha256":"{SHA256}","scopes":["read","submit"]}}]"#);
    let endpoint = r#"[{"name":"a","url":"http://a","secret_file":"s","events":["task.failed"]}]"#;
    let by_environment = load_env(&[
        ("internal.api_keys", &api_keys),
        ("archive.allowed_hosts", r#"["files.evolink.ai", "*.x.io"]"#),
        ("archive.allow_networks", r#"["10.0.0.0/8"]"#),
        ("forward.allowed_hosts", r#"["app:8000"]"#),
        ("forward.endpoints", endpoint),
    ]);
    let by_environment = as_json(&by_environment.expect("lists"));
    assert_eq!(by_environment, as_json(&load_toml(&toml).expect("lists")));

    let over = |value| {
        load_toml_env(
            &toml,
            &[("EVOLINK_RECEIVER__FORWARD__ALLOWED_HOSTS", value)],
        )
    };
    assert_eq!(over("[]").expect("none").forward.allowed_hosts, [""; 0]);
    let kept = over("").expect("absent");
    assert_eq!(kept.forward.allowed_hosts, ["app:8000"]);
    assert_eq!(kept.internal.api_keys.len(), 1);
}

#[test]
fn a_list_in_the_environment_that_is_none_is_refused_and_not_quoted() {
    let list = "must be a list in JSON, as in '[\"a\"]' or '[{\"name\": \"a\"}]'";
    for (key, value, line) in [
        (
            "forward.allowed_hosts",
            "app",
            format!("forward.allowed_hosts: {list}"),
        ),
        (
            "forward.allowed_hosts",
            "{}",
            format!("forward.allowed_hosts: {list}"),
        ),
        (
            "forward.allowed_hosts",
            "[\"5ec7e7",
            format!("forward.allowed_hosts: {list}"),
        ),
        (
            "forward.allowed_hosts",
            "[[\"app\"]]",
            "forward.allowed_hosts[0]: must be a string, is a list".to_owned(),
        ),
        (
            "internal.api_keys",
            r#"[{"name":"a","sha256":"5ec7e7","scopes":["read"]}]"#,
            "internal.api_keys[0].sha256: must be 64 hex digits, the SHA-256 of the key".to_owned(),
        ),
    ] {
        assert_eq!(load_env(&[(key, value)]).expect_err(value), line, "{value}");
    }
    let pairs = [("forward.allowed_hosts", "app"), ("public.tls.modus", "x")];
    let pairs = pairs.map(|(key, value)| (env_name(key), value.to_owned()));
    let (_, faults) = Config::load_all(None, pairs.into_iter());
    let keys: Vec<&str> = faults.iter().map(|fault| &*fault.error.key).collect();
    assert_eq!(keys, ["forward.allowed_hosts", "public.tls.modus"]);
}
