//! `keys` and `callback-url`: what is made works where it is used.

use clap::Parser as _;
use evolink_receiver::cli::{self, Cli};
use evolink_receiver::config::{Config, KeyDigest, Scope};
use evolink_receiver::domain::callback::KeyRing;
use evolink_receiver::domain::delivery::signing::SigningSecrets;
use evolink_receiver::exit::Exit;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;

use super::binary::{code, run, run_env, stderr, stdout};

#[test]
fn a_new_key_is_let_in_by_its_configuration_lines() {
    let output = run(&[
        "keys",
        "new",
        "--name",
        "web",
        "--scopes",
        "submit,read,submit",
    ]);
    assert_eq!(code(&output), Some(0), "{}", stderr(&output));
    let key = stdout(&output)
        .split_whitespace()
        .find(|word| word.starts_with("evr_"))
        .expect("the key is printed");
    assert_eq!(key.len(), "evr_".len() + 43, "32 bytes in base64url");
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("receiver.toml");
    std::fs::write(&path, stdout(&output)).expect("a file");
    let config = Config::load(Some(&path), std::iter::empty()).expect("the lines are TOML");
    let api_key = &config.internal.api_keys[0];
    assert_eq!(api_key.name, "web");
    assert!(api_key.sha256.matches(&KeyDigest::of(key)));
    assert_eq!(api_key.scopes, [Scope::Submit, Scope::Read]);
}

#[test]
fn a_new_key_as_json_is_one_object_and_another_each_time() {
    let one = || {
        let output = run(&[
            "keys", "new", "--name", "ops", "--scopes", "admin", "--json",
        ]);
        assert_eq!(stdout(&output).lines().count(), 1);
        serde_json::from_str::<Value>(stdout(&output)).expect("JSON")
    };
    let (first, second) = (one(), one());
    let key = first["key"].as_str().expect("text");
    assert_eq!(first["sha256"], KeyDigest::of(key).to_string());
    assert_eq!(first["scopes"], serde_json::json!(["admin"]));
    assert_ne!(first["key"], second["key"]);
}

#[test]
fn a_new_webhook_secret_and_a_new_ring_are_files_of_their_own() {
    let dir = tempfile::tempdir().expect("a directory");
    let made = |what: &str| {
        let output = run(&["keys", "new", what]);
        assert_eq!(code(&output), Some(0), "{}", stderr(&output));
        stdout(&output).to_owned()
    };
    let secret = made("--webhook");
    SigningSecrets::parse(&secret).expect("a file of a secret");
    let file = dir.path().join("receiver.toml");
    let lines = secret.lines().filter_map(|line| line.strip_prefix("# "));
    let lines: Vec<&str> = lines.skip_while(|line| !line.starts_with("[[")).collect();
    std::fs::write(&file, lines.join("\n")).expect("a file");
    let config = Config::load(Some(&file), std::iter::empty()).expect("the lines are TOML");
    let endpoint = &config.forward.endpoints[0];
    assert_eq!((&*endpoint.name, endpoint.events.len()), ("billing", 3));

    let ring = made("--ring");
    let ring = KeyRing::parse(&ring).expect("a file of a ring");
    let other = KeyRing::parse(&made("--ring")).expect("a file of a ring");
    assert_ne!(ring.fingerprints(), other.fingerprints());
    for (what, member) in [("--ring", "ring"), ("--webhook", "secret")] {
        let output = run(&["keys", "new", what, "--json"]);
        let made: Value = serde_json::from_str(stdout(&output)).expect("JSON");
        assert!(made[member].is_string(), "{made}");
    }
}

#[test]
fn a_new_key_is_of_one_kind() {
    for args in [
        &["--webhook", "--ring"][..],
        &["--ring", "--name", "web", "--scopes", "read"],
        &["--webhook", "--scopes", "read"],
        &["--name", "web"],
        &["--scopes", "read"],
        &[],
    ] {
        let output = run(&[&["keys", "new"], args].concat());
        assert_eq!(code(&output), Some(64), "{args:?}: {}", stdout(&output));
    }
}

#[test]
fn a_standing_url_is_minted_without_evolinks_key() {
    let dir = tempfile::tempdir().expect("a directory");
    let ring = dir.path().join("ring.key");
    std::fs::write(
        &ring,
        format!("k2 {}\nk1 {}\n", "ab".repeat(32), "cd".repeat(32)),
    )
    .expect("a file");
    let ring = ring.to_str().expect("UTF-8");
    let mint = |base_url: &str| {
        let env = [
            ("EVOLINK_RECEIVER__PUBLIC__BASE_URL", base_url),
            ("EVOLINK_RECEIVER__CALLBACK_TOKENS__KEY_FILE", ring),
        ];
        run_env(&["callback-url", "--label", "shop"], &env)
    };
    let minted = mint("https://hooks.example.com/in/");
    assert_eq!(code(&minted), Some(0), "{}", stderr(&minted));
    // Signed with the first key of the ring, and without a doubled slash.
    let start = "https://hooks.example.com/in/callbacks/k2.-shop.";
    assert!(stdout(&minted).starts_with(start), "{}", stdout(&minted));
    let refused = mint("http://hooks.example.com");
    assert_eq!(code(&refused), Some(78));
    assert!(
        stderr(&refused).contains("public.base_url: must be https"),
        "{}",
        stderr(&refused)
    );
}

#[test]
fn an_api_key_comes_from_one_place() {
    let client = |args: &[&str]| {
        let args = ["evolink-receiver", "submit", "a cat"].iter().chain(args);
        match Cli::try_parse_from(args)
            .expect("a good command line")
            .command
        {
            cli::Command::Submit(args) => args.client.read_api_key(),
            other => panic!("{other:?}"),
        }
    };
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("key");
    std::fs::write(&path, "evr_file\n").expect("a file");
    let path = path.to_str().expect("UTF-8");
    let text = |key: Option<SecretString>| key.map(|key| key.expose_secret().to_owned());
    assert_eq!(text(client(&[]).expect("none")), None);
    let given = client(&["--api-key", "evr_given"]).expect("given");
    assert_eq!(text(given).as_deref(), Some("evr_given"));
    let read = client(&["--api-key-file", path]).expect("read");
    assert_eq!(text(read).as_deref(), Some("evr_file"));
    let both = client(&["--api-key", "a", "--api-key-file", path]).expect_err("both");
    assert_eq!(both.exit, Exit::Usage);
    // All that `keys new` prints is no key.
    std::fs::write(path, "# The key, for the app.\n# evr_1\n").expect("a file");
    let printed = client(&["--api-key-file", path]).expect_err("no key");
    assert_eq!(printed.exit, Exit::Config);
    let named = format!("--api-key-file: {path} must hold the API key alone");
    assert!(printed.to_string().starts_with(&named), "{printed}");
    let absent = client(&["--api-key-file", "/nowhere/key"]).expect_err("absent");
    let start = "--api-key-file: could not read /nowhere/key: ";
    assert!(absent.to_string().starts_with(start), "{absent}");
}
