//! The binary: exit codes, what goes to which stream, and that a new key works with the
//! configuration lines that are printed for it.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use clap::Parser as _;
use evolink_receiver::cli::{self, Cli};
use evolink_receiver::config::{Config, KeyDigest, Scope};
use evolink_receiver::exit::Exit;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;

use crate::support::machine::needs::{self, Root};

/// Runs the binary with `env` as its whole environment.
fn run_env(args: &[&str], env: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_evolink-receiver"));
    command.args(args).env_clear().envs(env.iter().copied());
    command.output().expect("the binary runs")
}

fn run(args: &[&str]) -> Output {
    run_env(args, &[])
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).expect("UTF-8")
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).expect("UTF-8")
}

fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

#[test]
fn a_wrong_command_line_exits_with_64_and_says_so_on_stderr() {
    for args in [
        &[][..],
        &["serv"],
        &["serve", "--confg", "x"],
        &["tasks"],
        &["tasks", "show"],
        &["tasks", "list", "--limit", "0"],
        &["tasks", "list", "--created-after", "yesterday"],
        &["submit"],
        &["submit", "a cat", "--url", "here"],
        &["demo", "--tasks", "0"],
        &["callback-url"],
        &["keys", "new", "--name", "web"],
        &["keys", "new", "--name", "web", "--scopes", "write"],
        &["keys", "new", "--name", "a b", "--scopes", "read"],
        &["healthcheck", "--url", "here"],
        &["submit", "x", "--url", "ftp://x"],
    ] {
        let output = run(args);
        assert_eq!(code(&output), Some(64), "{args:?}: {}", stderr(&output));
        assert!(
            !stderr(&output).is_empty() && stdout(&output).is_empty(),
            "{args:?}"
        );
    }
}

#[test]
fn an_error_about_the_command_line_says_what_would_be_right() {
    for (args, hint) in [
        (&["deliveries", "retry"][..], "--all-dead"),
        (
            &["tasks", "list", "--created-after", "yesterday"],
            "such as 2026-11-29T17:00:00Z",
        ),
    ] {
        let output = run(args);
        assert_eq!(code(&output), Some(64));
        assert!(stderr(&output).contains(hint), "{}", stderr(&output));
    }
}

#[test]
fn a_command_that_misses_a_file_of_the_service_says_whether_the_configuration_is_missing() {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("receiver.toml"), "").expect("a file");
    for (args, advice) in [
        (&["backup", "copy"][..], "start the service once"),
        (&["restore", "--new-epoch"], "start the service once"),
        (
            &["callback-url", "--label", "shop"],
            "start the service once",
        ),
    ] {
        for (more, hint) in [
            (&[][..], "no configuration was given; give --config FILE"),
            (&["--config", "receiver.toml"], advice),
        ] {
            let mut command = Command::new(env!("CARGO_BIN_EXE_evolink-receiver"));
            command.current_dir(dir.path()).env_clear();
            let output = command.args(args).args(more).output().expect("it runs");
            assert_ne!(code(&output), Some(0), "{args:?}");
            assert!(stderr(&output).contains(hint), "{}", stderr(&output));
            assert!(!dir.path().join("copy").exists());
            assert!(!dir.path().join("data").exists());
        }
    }
}

#[test]
fn an_environment_variable_that_is_set_to_nothing_counts_as_absent() {
    let nothing = [
        ("EVOLINK_RECEIVER_CONFIG", ""),
        ("EVOLINK_RECEIVER_URL", ""),
        ("EVOLINK_RECEIVER_API_KEY", ""),
        ("EVOLINK_RECEIVER_API_KEY_FILE", ""),
    ];
    let check = run_env(&["check"], &nothing);
    // The time, the free space of a disk that others write to, and ports that others take.
    let of_the_moment = [" clock: ", " store.min_free: ", ".listen: "];
    let lasting = |output: &Output| -> Vec<String> {
        let is_lasting = |line: &&str| !of_the_moment.iter().any(|part| line.contains(part));
        let lines = stdout(output).lines().filter(is_lasting);
        lines.map(str::to_owned).collect()
    };
    assert_eq!(lasting(&check), lasting(&run(&["check"])));
    let list = run_env(&["tasks", "list"], &nothing);
    assert_ne!(code(&list), Some(64), "{}", stderr(&list));
}

#[test]
fn a_variable_that_is_almost_a_setting_is_a_warning() {
    let env = [
        ("EVOLINK_RECEIVER_PUBLIC__BASE_URL", "https://hooks.acme.io"),
        ("EVOLINK_RECEIVER_STORE_URL", "sqlite:x.db"),
        ("EVOLINK_RECEIVER_COLOUR", "blue"),
        ("EVOLINK_RECEIVER_URL", "http://127.0.0.1:1"),
        // Kubernetes sets these for a service of this name.
        ("EVOLINK_RECEIVER_SERVICE_HOST", "10.0.0.1"),
        ("EVOLINK_RECEIVER_SERVICE_PORT_HTTP", "8080"),
        ("EVOLINK_RECEIVER_PORT", "tcp://10.0.0.1:8080"),
        ("EVOLINK_RECEIVER_PORT_8080_TCP_ADDR", "10.0.0.1"),
    ];
    let check = run_env(&["check"], &env);
    let lines = stdout(&check).lines();
    let found: Vec<&str> = lines
        .filter(|line| line.contains(" environment: "))
        .collect();
    let warning = "warning environment: environment variable";
    let wanted = [
        format!(
            "{warning} EVOLINK_RECEIVER_COLOUR is not a setting; settings begin with EVOLINK_RECEIVER__"
        ),
        format!(
            "{warning} EVOLINK_RECEIVER_PUBLIC__BASE_URL is not a setting; did you mean EVOLINK_RECEIVER__PUBLIC__BASE_URL?"
        ),
        format!(
            "{warning} EVOLINK_RECEIVER_STORE_URL is not a setting; did you mean EVOLINK_RECEIVER__STORE__URL?"
        ),
    ];
    assert_eq!(found, wanted, "{}", stdout(&check));
}

#[test]
fn a_health_check_asks_the_service_that_the_environment_names() {
    let named = |url: &str| run_env(&["healthcheck"], &[("EVOLINK_RECEIVER_URL", url)]);
    let output = named("http://127.0.0.1:1");
    assert_eq!(code(&output), Some(69));
    let message = stderr(&output);
    assert!(message.contains("http://127.0.0.1:1/"), "{message}");
    let listen = [
        ("EVOLINK_RECEIVER_URL", ""),
        ("EVOLINK_RECEIVER__INTERNAL__LISTEN", "127.0.0.1:2"),
    ];
    let output = run_env(&["healthcheck"], &listen);
    let message = stderr(&output);
    assert!(message.contains("http://127.0.0.1:2/"), "{message}");
}

#[test]
fn a_data_folder_of_another_user_is_one_error_that_names_both_users() {
    if !needs::are_met(Root::Needed, &["setpriv"]) {
        return;
    }
    let data = tempfile::tempdir().expect("a directory");
    let path = data.path().display().to_string();
    std::fs::set_permissions(data.path(), Permissions::from_mode(0o755)).expect("a mode");
    let url = format!("sqlite:{path}/receiver.db");
    let (ring, secret) = (format!("{path}/ring"), format!("{path}/whsec"));
    let env = [
        ("EVOLINK_RECEIVER__EVOLINK__API_KEY", "sk-0123456789abcdef"),
        (
            "EVOLINK_RECEIVER__PUBLIC__BASE_URL",
            "https://hooks.acme.io",
        ),
        ("EVOLINK_RECEIVER__PUBLIC__TLS__MODE", "off"),
        ("EVOLINK_RECEIVER__STORE__URL", url.as_str()),
        ("EVOLINK_RECEIVER__CALLBACK_TOKENS__KEY_FILE", ring.as_str()),
        ("EVOLINK_RECEIVER__FORWARD__SECRET_FILE", secret.as_str()),
    ];
    let says = format!(
        "Permission denied: this process is user 65532:65532, and {path} belongs to 0:0 (mode 755): chown 65532:65532 {path}"
    );
    for command in ["check", "serve"] {
        let mut run = Command::new("setpriv");
        run.args(["--reuid=65532", "--regid=65532", "--clear-groups"]);
        run.args([env!("CARGO_BIN_EXE_evolink-receiver"), command]);
        let output = run.env_clear().envs(env).output().expect("it runs");
        let printed = format!("{}{}", stdout(&output), stderr(&output));
        assert_ne!(code(&output), Some(0), "{command}: {printed}");
        let denied = printed.lines().filter(|line| line.contains("denied"));
        let denied: Vec<&str> = denied.collect();
        assert_eq!(denied.len(), 1, "{command}: {printed}");
        assert!(denied[0].contains(&says), "{command}: {printed}");
    }
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
    let absent = client(&["--api-key-file", "/nowhere/key"]).expect_err("absent");
    let start = "--api-key-file: could not read /nowhere/key: ";
    assert!(absent.to_string().starts_with(start), "{absent}");
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
    let start = "https://hooks.example.com/in/callbacks/k2.~shop.";
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
fn help_and_version_exit_with_0() {
    for args in [
        &["--help"][..],
        &["help"],
        &["tasks", "--help"],
        &["keys", "new", "--help"],
    ] {
        let output = run(args);
        assert_eq!(code(&output), Some(0), "{args:?}");
        assert!(stdout(&output).contains("Usage:"), "{args:?}");
    }
    let output = run(&["--version"]);
    assert_eq!(code(&output), Some(0));
    let start = format!("evolink-receiver {} (", env!("CARGO_PKG_VERSION"));
    assert!(stdout(&output).starts_with(&start), "{}", stdout(&output));
}

#[test]
fn help_does_not_show_the_api_key_of_the_environment() {
    let output = run_env(
        &["submit", "--help"],
        &[("EVOLINK_RECEIVER_API_KEY", "evr_secret")],
    );
    assert!(stdout(&output).contains("EVOLINK_RECEIVER_API_KEY"));
    assert!(!stdout(&output).contains("evr_secret"));
}

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
fn check_lists_every_error_and_exits_with_78() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("receiver.toml");
    std::fs::write(&path, "[public]\nbase_url = 'http://hooks.acme.io'\n").expect("a file");
    let output = check(&path, &[]);
    assert_eq!(code(&output), Some(78));
    let expected = [
        "error   public.base_url: must be https, the only scheme that EvoLink calls; with a proxy in front, this is the proxy's address",
        "error   public.tls.cert_file: missing: public.tls.mode \"files\" needs it",
        "error   public.tls.key_file: missing: public.tls.mode \"files\" needs it",
        "error   evolink.api_key_file: missing: set it, or evolink.api_key, or the environment variable EVOLINK_API_KEY",
    ];
    let lines: Vec<&str> = stdout(&output).lines().collect();
    assert_eq!(lines[..4], expected);
    assert_eq!(stderr(&output), "evolink-receiver: 4 errors\n");
}

#[test]
fn check_reports_every_key_that_is_wrong_and_what_is_around() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("receiver.toml");
    let endpoint = |name: &str, url: &str, more: &str| {
        format!(
            "[[forward.endpoints]]\nname = '{name}'\nurl = '{url}'\nsecret_file = '/nowhere/{name}'\n{more}\n"
        )
    };
    let done = "events = ['task.failed']";
    let good = "publik = 1\n[public]\nlissten = 'x'\nbase_url = 'http://hooks.acme.io'\n[public.tls]\nmode = 'off'\n";
    let unknown = format!(
        "{good}{}",
        endpoint("a", "http://a", &format!("{done}\nurls = 1"))
    );
    std::fs::write(&path, unknown).expect("a file");
    let key = [("EVOLINK_API_KEY", "sk-secret-of-evolink")];
    let output = check(&path, &key);
    assert_eq!(code(&output), Some(78));
    for line in [
        "error   publik: unknown key",
        "error   public.lissten: unknown key",
        "error   forward.endpoints[0].urls: unknown key",
        "error   public.base_url: must be https",
        "error   forward.endpoints[0].secret_file: could not read /nowhere/a: ",
        "make a secret for it with: echo \"whsec_$(openssl rand -base64 32)\"",
        "ok      clock: ",
    ] {
        assert!(
            stdout(&output).contains(line),
            "{line}: {}",
            stdout(&output)
        );
    }
    // A value that cannot be read is reported, and nothing is said about the default in its place.
    let wrong = [
        "[public]\nmax_body = 5\n[public.tls]\nmode = 'of'\n[retention]\ntasks = 'ever'\n"
            .to_owned(),
        endpoint("a", "here", done),
        endpoint("b", "http://b", done),
        endpoint("c", "http://c", "events = ['task.done']"),
        endpoint("d", "http://d", ""),
    ];
    std::fs::write(&path, wrong.concat()).expect("a file");
    let output = check(&path, &key);
    assert_eq!(code(&output), Some(78));
    let lines: Vec<&str> = stdout(&output).lines().collect();
    let start = |key: &str| {
        let start = format!("error   {key}: ");
        lines.iter().any(|line| line.starts_with(&start))
    };
    let keys = [
        "public.max_body",
        "public.tls.mode",
        "retention.tasks",
        "forward.endpoints[0].url",
        "forward.endpoints[2].events[0]",
        "forward.endpoints[3].events",
    ];
    assert!(keys.into_iter().all(start), "{lines:#?}");
    assert_eq!(lines.len(), keys.len() + 1, "{lines:#?}");
    assert!(
        lines[keys.len()].starts_with("warning configuration: "),
        "{lines:#?}"
    );
}

#[test]
fn check_of_a_good_file_exits_with_0_and_shows_no_secret() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("receiver.toml");
    let toml = "[public]\nbase_url = 'https://hooks.acme.io'\n[public.tls]\nmode = 'off'\n";
    std::fs::write(&path, toml).expect("a file");
    let output = check(&path, &[("EVOLINK_API_KEY", "sk-secret-of-evolink")]);
    assert_eq!(code(&output), Some(0), "{}", stdout(&output));
    let line = format!(
        "ok      configuration: {}: all values can hold\n",
        path.display()
    );
    assert!(stdout(&output).starts_with(&line), "{}", stdout(&output));
    assert!(!stdout(&output).contains("sk-secret-of-evolink"));
    let gone = check(
        &path,
        &[("EVOLINK_RECEIVER__EVOLINK__API_KEY_FILE", "/nowhere/key")],
    );
    assert_eq!(code(&gone), Some(78));
    let start = "error   evolink.api_key_file: could not read /nowhere/key: ";
    assert!(stdout(&gone).starts_with(start), "{}", stdout(&gone));
}

#[test]
fn check_of_a_file_that_cannot_be_read_exits_with_78() {
    let output = check(Path::new("/nowhere/receiver.toml"), &[]);
    assert_eq!(code(&output), Some(78));
    let start = "error   /nowhere/receiver.toml: could not read: ";
    assert!(stdout(&output).starts_with(start), "{}", stdout(&output));
}

#[test]
fn check_of_a_good_file_binds_nothing_and_says_where_roots_are_missing() {
    let dir = tempfile::tempdir().expect("a directory");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address");
    let path = dir.path().join("receiver.toml");
    let toml = format!(
        "[public]\nbase_url = 'https://hooks.acme.io'\nlisten = '{address}'\n[public.tls]\nmode = 'off'\n"
    );
    std::fs::write(&path, toml).expect("a file");
    let key = ("EVOLINK_API_KEY", "sk-secret-of-evolink");
    let output = check(&path, &[key]);
    assert_eq!(code(&output), Some(0), "{}", stdout(&output));
    let in_use = format!("warning public.listen: {address}: in use by another process; ");
    assert!(stdout(&output).contains(&in_use), "{}", stdout(&output));
    let no_roots = [
        ("SSL_CERT_FILE", "/nowhere/roots"),
        ("SSL_CERT_DIR", "/nowhere"),
    ];
    let output = check(&path, &[key, no_roots[0], no_roots[1]]);
    assert_eq!(code(&output), Some(78));
    assert!(
        stdout(&output).contains("error   system roots: install ca-certificates"),
        "{}",
        stdout(&output)
    );
}

fn check(path: &Path, env: &[(&str, &str)]) -> Output {
    run_env(&["check", "--config", path.to_str().expect("UTF-8")], env)
}
