//! The command line: exit codes, what goes to which stream, and what the environment changes.

use std::ffi::OsStr;
use std::fs::Permissions;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output};

use super::binary::{code, run, run_env, stderr, stdout};
use crate::support::machine::needs::{self, Root};

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
fn without_arguments_it_says_what_it_is_and_three_commands_to_try() {
    let output = run(&[]);
    assert_eq!(code(&output), Some(64));
    let text = stderr(&output);
    for words in [
        "receives EvoLink's callbacks",
        "evolink-receiver demo ",
        "evolink-receiver init ",
        "evolink-receiver serve ",
        "--help",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert!(text.lines().count() < 10, "{text}");
}

#[test]
fn an_error_about_the_command_line_says_what_would_be_right() {
    for (args, hint) in [
        (&["deliveries", "retry"][..], "--all-dead"),
        (
            &["tasks", "list", "--created-after", "yesterday"],
            "such as 2026-11-29T17:00:00Z, a date, or how long ago, such as 1h",
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

/// An empty variable of a library counts as absent too.
#[test]
fn an_empty_variable_of_another_is_none() {
    let roots = |env: &[(&str, &str)]| {
        let output = run_env(&["check"], env);
        let mut lines = stdout(&output).lines();
        let line = lines.find(|line| line.contains(" system roots: "));
        line.expect("a finding").to_owned()
    };
    let without = roots(&[]);
    assert!(without.starts_with("ok "), "{without}");
    let empty = [("SSL_CERT_FILE", ""), ("SSL_CERT_DIR", "")];
    assert_eq!(roots(&empty), without);
    let wrong = roots(&[("SSL_CERT_FILE", "/nowhere"), ("SSL_CERT_DIR", "")]);
    assert!(wrong.starts_with("error "), "{wrong}");
}

#[test]
fn a_variable_of_ours_that_is_not_utf_8_is_an_error_and_one_of_another_is_none() {
    for name in ["EVOLINK_API_KEY", "EVOLINK_RECEIVER__STORE__URL", "OTHER"] {
        for command in ["check", "serve", "backup"] {
            let mut run = Command::new(env!("CARGO_BIN_EXE_evolink-receiver"));
            run.arg(command)
                .env_clear()
                .env(name, OsStr::from_bytes(b"a\xff"));
            if command == "backup" {
                run.arg("/nowhere/copy");
            }
            let output = run.output().expect("it runs");
            let said = [stdout(&output), stderr(&output)].concat();
            let is_named = said.contains(&format!("{name}: is not UTF-8"));
            assert_eq!(is_named, name != "OTHER", "{command}: {said}");
            assert_ne!(code(&output), Some(0), "{command}: {said}");
        }
    }
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
    let results = format!("file:{path}/results");
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
        ("EVOLINK_RECEIVER__ARCHIVE__URL", results.as_str()),
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
