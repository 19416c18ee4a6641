//! Tests how the text of a URL is judged.

use super::*;

/// Different spellings of 127.0.0.1.
const LOOPBACK_SPELLINGS: [&str; 18] = [
    "127.0.0.1",
    "127.0.0.1.",
    "2130706433",
    "0x7f000001",
    "0X7F.1",
    "0x7f.0.0.1",
    "0177.0.0.1",
    "0177.1",
    "017700000001",
    "127.1",
    "127.0.1",
    "①②⑦.⓪.⓪.①",
    "１２７.0.0.1",
    "127。0。0。1",
    "%31%32%37.0.0.1",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[0:0:0:0:0:ffff:7f00:0001]",
];

#[test]
fn an_app_s_address_is_admitted_by_the_list_alone() {
    let listed = [
        "app.acme.io:8000",
        "*.svc.cluster.local",
        "Hooks.Acme.io",
        "worker:9000",
    ];
    let rules = rules(&listed, &[]);
    for admitted in [
        "http://app.acme.io:8000/",
        "https://app.acme.io:8000/x?y=z",
        "HTTPS://APP.acme.io.:8000/",
        "http://ⓐpp.acme.io:8000/",
        "http://%61pp.acme.io:8000/",
        "http://a.svc.cluster.local/",
        "http://a.b.svc.cluster.local:1/",
        "https://hooks.acme.io/",
        "http://worker:9000",
    ] {
        assert_eq!(judged(&rules, admitted), Ok(()), "{admitted}");
    }
    for unlisted in [
        "http://app.acme.io/",
        "http://app.acme.io:80/",
        "http://svc.cluster.local/",
        "http://asvc.cluster.local/",
        "http://evilsvc.cluster.local/",
        "http://.svc.cluster.local.evil.io/",
        "http://hooks.acme.io.evil.io/",
        "http://evilhooks.acme.io/",
        "http://worker/",
        "http://worker.evil.io:9000/",
        "http://localhost/",
        "http://10.0.0.1/",
        "http://[::1]/",
    ] {
        assert_eq!(
            judged(&rules, unlisted),
            Err(Reason::NotListed),
            "{unlisted}"
        );
    }
    let nobody = self::rules(&[], &["0.0.0.0/0"]);
    let nothing = Err(Reason::NothingListed);
    assert_eq!(judged(&nobody, "https://hooks.acme.io/"), nothing);
}

#[test]
fn a_url_that_a_parser_would_repair_is_refused() {
    let everything = rules(
        &["*.io", "files.evolink.ai", "h", "127.0.0.1", "evil.example"],
        &[],
    );
    let long = format!("https://h/{}", "a".repeat(2039));
    for text in [
        "javascript:alert(1)",
        "data:image/svg+xml,x",
        "file:///etc/passwd",
        "file://h/etc/passwd",
        "ftp://h/",
        "ws://h/",
        "gopher://h/",
        "blob:https://h/x",
        "https://user:pw@files.evolink.ai/",
        "https://user@h/",
        "https://@h/",
        "https://:@h/",
        "https://files.evolink.ai@evil.example/",
        "https://evil.example#@files.evolink.ai/",
        "https://h/#",
        "https://h/#x",
        "//h/x",
        "/rel",
        "https:h/x",
        "https:/h/x",
        "https:///h/x",
        "https://",
        "https://?h",
        "https://#h",
        "",
        " https://h/",
        "https://h/ ",
        "https://h /",
        "https://h/\t",
        "ht\ntps://h/",
        "https://\th/",
        "https://h/\r\nHost: x",
        "https://h\\@evil.example/",
        "https:\\\\h/",
        "https://h\u{0}/",
        "https://h\u{3000}/",
        "https://h:0/",
        "https://h:65536/",
        "https://h:x/",
        "https://[::1/",
        "https://[fe80::1%25eth0]/",
        "https://1.2.3.4.5/",
        "https://256.1.1.1/",
        "https://h%00/",
        "https://h%2f@evil.example/",
        &long,
    ] {
        let judged = judged(&everything, text);
        assert!(
            matches!(judged, Err(Reason::Malformed(_))),
            "{text:?}: {judged:?}"
        );
    }
    assert_eq!(judged(&everything, &long[..2048]), Ok(()));
}

#[test]
fn a_literal_is_judged_by_what_it_means_in_whatever_spelling() {
    let (listed, unlisted) = (
        rules(&["127.0.0.1:7000"], &[]),
        rules(&["localhost", "*.0.0.1"], &[]),
    );
    for spelling in LOOPBACK_SPELLINGS {
        let url = |port: u16| format!("http://{spelling}:{port}/");
        assert_eq!(judged(&listed, &url(7000)), Ok(()), "{spelling}");
        assert_eq!(
            judged(&listed, &url(7001)),
            Err(Reason::NotListed),
            "{spelling}"
        );
        assert_eq!(
            judged(&unlisted, &url(7000)),
            Err(Reason::NotListed),
            "{spelling}"
        );
    }
    for other in [
        "[::1]",
        "[64:ff9b::7f00:1]",
        "127.0.0.2",
        "localhost",
        "0",
        "0.0.0.0",
        "[::]",
    ] {
        let url = format!("http://{other}:7000/");
        assert_eq!(judged(&listed, &url), Err(Reason::NotListed), "{other}");
    }
    for private in [
        "10.0.0.1",
        "198.18.0.1",
        "203.0.113.10",
        "[fd00::1]",
        "[64:ff9b::a00:1]",
        "8.8.8.8",
    ] {
        let url = format!("http://{private}/");
        assert_eq!(judged(&rules(&[private], &[]), &url), Ok(()), "{private}");
        let (mut names, elsewhere) = (
            vec!["*.io", "localhost", "10.0.0.2"],
            &["0.0.0.0/0", "::/0"],
        );
        names.push("[fd00::2]");
        assert_eq!(
            judged(&rules(&names, elsewhere), &url),
            Err(Reason::NotListed),
            "{private}"
        );
    }
}

#[test]
fn a_refusal_names_the_host_and_the_address_and_no_secret() {
    let rules = rules(&["a.io", "10.9.9.9", "169.254.169.254"], &[]);
    let text = |url: &str| rules.judge_text(url).unwrap_err().to_string();
    assert_eq!(
        text("https://evil.example:8443/path-secret?sig=query-secret"),
        "evil.example:8443 is not allowed: the receiver's forward.allowed_hosts does not list it"
    );
    assert_eq!(
        text("http://169.254.169.254/path-secret"),
        "169.254.169.254:80 is at 169.254.169.254, a cloud's metadata address, which is never called"
    );
    assert_eq!(
        text("https://10.9.9.9:8443/path-secret"),
        "10.9.9.9:8443 is at 10.9.9.9:8443, where this receiver itself listens"
    );
    assert_eq!(
        text("https://user:secret@a.io/"),
        "the URL has a user name or a password"
    );
    let refused = rules.judge_addresses(Author::App, "a.io", 80, &[ip("8.8.8.8"), ip("10.0.0.1")]);
    assert_eq!(
        refused.unwrap_err().to_string(),
        "a.io is at 10.0.0.1, a private address, which only a name that looks internal may be, unless forward.allow_networks has its network"
    );
}
