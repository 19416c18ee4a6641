//! `check` of a configuration file: its findings and its exit code.

use std::path::Path;

use super::binary::{check, code, stderr, stdout};

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
        "make a secret for it with: evolink-receiver keys new --webhook",
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
