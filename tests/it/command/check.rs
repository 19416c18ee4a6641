//! `check` of a configuration file: its findings and its exit code.

use std::path::Path;

use super::binary::{check, code, run, stderr, stdout};

#[test]
fn check_lists_every_error_and_exits_with_78() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("receiver.toml");
    std::fs::write(&path, "[public]\nbase_url = 'http://hooks.acme.io'\n").expect("a file");
    let output = check(&path, &[]);
    assert_eq!(code(&output), Some(78));
    let in_line_2 = format!(
        "error   public.base_url: must be https, the only scheme that EvoLink calls; with a proxy in front, this is the proxy's \
         address ({}:2)",
        path.display()
    );
    let expected = [
        &*in_line_2,
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
        "error   publik: unknown key; did you mean public?",
        "error   public.lissten: unknown key; did you mean listen?",
        "error   forward.endpoints[0].urls: unknown key; did you mean url?",
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

/// Ends each line of a file whose key must be found with `#` and the key.
const PLACES: &str = r#"
publik = 1                              # publik
[public]
base_url = """http://a
"""                                     # (begins one line above)
max_body = 1                            # public.max_body
tls = { mode = "of" }                   # public.tls.mode
[evolink]
timeout = "ever"                        # evolink.timeout
submits.x = 1                           # evolink.submits
[[internal.api_keys]]                   # internal.api_keys[0].sha256
name = "a"
scopes = ["read"]
[archive]
allowed_hosts = [
    "x.io",
    ["y.io"],                           # archive.allowed_hosts[1]
]
[reconcile]
interval_max = "5s"                     # reconcile.interval_max
interval_min = "0s"                     # reconcile.interval_min
"#;

#[test]
fn an_error_has_its_file_and_line_or_its_variable() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("receiver.toml");
    std::fs::write(&path, PLACES).expect("a file");
    let env = [
        ("EVOLINK_RECEIVER__PUBLIC__BODY_TIMEOUT", "ever"),
        ("EVOLINK_RECEIVER__FORWARD__ALLOWED_HOSTS", "[[\"app\"]]"),
    ];
    let output = check(&path, &env);
    let found = stdout(&output);
    let file = path.display();
    let lines = (1..).zip(PLACES.lines());
    let keys = lines.filter_map(|(line, text)| Some((line, text.split_once("  # ")?.1)));
    let mut wanted: Vec<(String, String)> = keys
        .filter(|(_, key)| !key.starts_with('('))
        .map(|(line, key)| (key.to_owned(), format!("({file}:{line})")))
        .collect();
    assert_eq!(wanted.len(), 9);
    for (key, variable) in [
        ("public.body_timeout", env[0].0),
        ("forward.allowed_hosts[0]", env[1].0),
    ] {
        wanted.push((key.to_owned(), format!("({variable})")));
    }
    for (key, place) in &wanted {
        let start = format!("error   {key}: ");
        let line = found.lines().find(|line| line.starts_with(&start));
        assert!(
            line.is_some_and(|line| line.ends_with(place)),
            "{key}: {place}: {found}"
        );
    }
    let errors = found.lines().filter(|line| line.starts_with("error "));
    assert_eq!(errors.count(), wanted.len(), "{found}");
    // Those of the file are in its order.
    let order = found
        .lines()
        .filter_map(|line| line.rsplit_once(&format!("{file}:")));
    let order = order.map(|(_, line)| line.trim_end_matches(')').parse().expect("a number"));
    assert!(order.collect::<Vec<usize>>().is_sorted(), "{found}");
}

#[test]
fn errors_come_in_the_same_order_every_time() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("receiver.toml");
    let twice = |n| format!("[[forward.endpoints]]\nname = {n}\nurl = {n}\nevents = {n}\n");
    let sections = (0..12).map(|n| format!("[section{n}]\nkey{n} = 1\n{}", twice(n)));
    let toml = sections.collect::<Vec<_>>().concat();
    std::fs::write(&path, toml).expect("a file");
    let env: Vec<(String, String)> = (0..12)
        .map(|n| (format!("EVOLINK_RECEIVER__PUBLIC__KEY{n}"), "x".to_owned()))
        .collect();
    let env: Vec<(&str, &str)> = env
        .iter()
        .map(|(name, value)| (&**name, &**value))
        .collect();
    let first = check(&path, &env);
    assert!(stdout(&first).lines().count() > 36, "{}", stdout(&first));
    for _ in 0..10 {
        assert_eq!(stdout(&check(&path, &env)), stdout(&first));
    }
}

#[test]
fn serve_names_all_errors_at_once_and_the_same_ones_as_check() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("receiver.toml");
    for toml in [
        PLACES,
        "[public]\nbase_url = 'http://hooks.acme.io'\n[reconcile]\ninterval_min = '0s'\n",
        "[public\n",
    ] {
        std::fs::write(&path, toml).expect("a file");
        let checked = check(&path, &[]);
        let errors = stdout(&checked).lines();
        let errors: Vec<&str> = errors
            .filter_map(|line| line.strip_prefix("error   "))
            .collect();
        assert!(!errors.is_empty());
        let served = run(&["serve", "--config", path.to_str().expect("UTF-8")]);
        assert_eq!(code(&served), Some(78));
        let said = stderr(&served).lines();
        let said: Vec<&str> = said
            .filter_map(|line| line.strip_prefix("evolink-receiver: "))
            .collect();
        assert_eq!(said, errors);
    }
}
