//! Tests how addresses are classified, and which names may resolve to them.

use super::*;

#[test]
fn every_address_has_its_class() {
    for never in NEVER {
        assert!(matches!(class(never), Class::Never(_)), "{never}");
    }
    for (expected, addresses) in [
        (
            Class::Public,
            "1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0 169.253.255.255 169.255.0.0 172.15.255.255 172.32.0.0 192.167.255.255 192.169.0.0 198.17.255.255 198.20.0.0 223.255.255.255 2606:4700::1 2001:200::1 2001:4860:4860::8888 2a00::1 64:ff9b::808:808 ::ffff:8.8.8.8 2002:808:808::1",
        ),
        (
            Class::Loopback,
            "127.0.0.1 127.255.255.254 ::1 ::ffff:127.0.0.1 64:ff9b::7f00:1 2002:7f00:1::1 ::127.0.0.1",
        ),
        (
            Class::Private,
            "10.0.0.1 10.255.255.255 172.16.0.1 172.31.255.255 192.168.0.1 100.64.0.1 100.127.255.255 fc00::1 fdff::1 ::ffff:10.0.0.1 64:ff9b::a00:1 64:ff9b:1::a00:1 2002:a00:1::1",
        ),
        (
            Class::Reserved,
            "192.0.0.1 192.0.2.1 198.51.100.7 203.0.113.10 192.88.99.1 198.18.0.1 198.19.255.255 240.0.0.1 255.255.255.254 2001::1 2001:1ff::1 2001:db8::1 3fff::1 3fff:fff::1 fec0::1 100::1 4000::1 5f00::1 ::8.8.8.8 64:ff9b:1::808:808",
        ),
    ] {
        for address in addresses.split(' ') {
            assert_eq!(class(address), expected, "{address}");
        }
    }
}

#[test]
fn no_list_leads_where_nobody_is_sent() {
    for never in NEVER {
        let host = match ip(never) {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => format!("[{address}]"),
        };
        let rules = rules(&[&host, "h"], &["0.0.0.0/0", "::/0"]);
        let url = format!("http://{host}:7000/");
        let is_never = |judged: Result<(), Reason>| {
            matches!(
                judged,
                Err(Reason::Address {
                    class: Class::Never(_),
                    ..
                })
            )
        };
        assert!(is_never(judged(&rules, &url)), "{never}");
        for author in [Author::App, Author::Operator] {
            let url = Url::parse(&url).unwrap();
            let literal = rules
                .judge_url(author, &url)
                .map_err(|refused| refused.reason);
            assert!(is_never(literal), "{never}");
            let addresses = [ip("8.8.8.8"), ip(never)];
            let name = rules.judge_addresses(author, "h", 7000, &addresses);
            assert!(is_never(name.map_err(|refused| refused.reason)), "{never}");
        }
    }
}

#[test]
fn nobody_is_sent_to_our_own_listeners() {
    let rules = rules(
        &[
            "10.9.9.9",
            "10.1.1.1",
            "[::ffff:10.9.9.9]",
            "localhost",
            "h",
            "[::1]",
        ],
        &[],
    );
    for ours in [
        "10.9.9.9:8443",
        "[::ffff:10.9.9.9]:8443",
        "10.1.1.1:9443",
        "[::1]:8080",
    ] {
        let refused = judged(&rules, &format!("http://{ours}/")).unwrap_err();
        assert!(
            matches!(refused, Reason::Ours { .. }),
            "{ours}: {refused:?}"
        );
    }
    for other in [
        "10.9.9.9:8444",
        "10.9.9.9:9443",
        "10.1.1.1:8443",
        "[::1]:9443",
    ] {
        assert_eq!(
            judged(&rules, &format!("http://{other}/")),
            Ok(()),
            "{other}"
        );
    }
    for author in [Author::App, Author::Operator] {
        let judged =
            |name, port, address| rules.judge_addresses(author, name, port, &[ip(address)]);
        assert!(judged("h", 8443, "10.9.9.9").is_err());
        assert!(judged("h", 9443, "10.1.1.1").is_err());
        assert!(judged("localhost", 8080, "::1").is_err());
        assert!(judged("h", 9443, "10.1.1.2").is_ok());
        assert!(judged("localhost", 8081, "::1").is_ok());
    }
}

#[test]
fn a_name_goes_where_its_looks_allow_and_only_if_all_its_addresses_do() {
    let judged = |networks: &[&str], name: &str, addresses: &str| {
        let addresses: Vec<_> = addresses.split(' ').map(ip).collect();
        let judged = rules(&["*.io"], networks).judge_addresses(Author::App, name, 80, &addresses);
        judged.is_ok()
    };
    for public in ["8.8.8.8", "2606:4700::1", "8.8.8.8 1.1.1.1 2606:4700::1"] {
        for name in ["a.io", "db", "a.internal"] {
            assert!(judged(&[], name, public), "{name} {public}");
        }
    }
    for private in [
        "10.0.0.1",
        "192.168.1.1",
        "fd12::1",
        "::ffff:10.0.0.1",
        "100.64.0.1",
        "8.8.8.8 10.0.0.1",
    ] {
        for name in [
            "db",
            "db.",
            "a.internal",
            "a.local",
            "a.lan",
            "a.home.arpa",
            "a.internal.",
        ] {
            assert!(judged(&[], name, private), "{name} {private}");
        }
        for name in [
            "a.io",
            "a.io.",
            "internal.io",
            "a.internal.io",
            "xinternal.io",
        ] {
            assert!(!judged(&[], name, private), "{name} {private}");
            assert!(judged(
                &["10.0.0.0/8", "192.168.0.0/16", "fd12::/32", "100.64.0.0/10"],
                name,
                private
            ));
        }
    }
    for reserved in ["198.18.0.1", "203.0.113.10", "240.0.0.1", "2001:db8::1"] {
        for name in ["a.io", "db", "localhost"] {
            assert!(!judged(&[], name, reserved), "{name} {reserved}");
            assert!(judged(
                &[
                    "198.18.0.0/15",
                    "203.0.113.0/24",
                    "240.0.0.0/4",
                    "2001:db8::/32"
                ],
                name,
                reserved
            ));
        }
    }
}

#[test]
fn loopback_is_for_localhost_alone() {
    let judged = |networks: &[&str], name: &str, address: &str| {
        let addresses = [ip(address)];
        let judged = rules(&["*.io"], networks).judge_addresses(Author::App, name, 80, &addresses);
        judged.is_ok()
    };
    for loopback in ["127.0.0.1", "::1", "127.9.9.9", "64:ff9b::7f00:1"] {
        for name in ["a.io", "db", "a.internal", "localhost.io", "xlocalhost"] {
            assert!(
                !judged(&["0.0.0.0/0", "::/0"], name, loopback),
                "{name} {loopback}"
            );
        }
        for name in ["localhost", "localhost.", "a.localhost"] {
            assert!(judged(&[], name, loopback), "{name} {loopback}");
        }
    }
}

#[test]
fn a_network_means_the_ipv4_addresses_in_it_however_an_ipv6_address_says_them() {
    let judged = |networks: &[&str], name: &str, address: &str| {
        let rules = rules(&[], networks);
        rules
            .judge_addresses(Author::App, name, 80, &[ip(address)])
            .is_ok()
    };
    assert!(judged(&["10.0.0.0/8"], "a.io", "64:ff9b::a00:1"));
    assert!(!judged(&["10.0.0.0/16"], "a.io", "64:ff9b::a01:1"));
}

#[test]
fn the_operator_s_word_is_good_for_private_networks_and_loopback() {
    let nothing = rules(&[], &[]);
    for good in [
        "http://127.0.0.1:9000/",
        "http://10.0.0.1/",
        "http://[fd00::1]/",
        "http://billing/",
        "https://a.io/",
    ] {
        let url = Url::parse(good).unwrap();
        assert_eq!(nothing.judge_url(Author::Operator, &url), Ok(()), "{good}");
    }
    let addresses: Vec<_> = ["127.0.0.1", "::1", "10.0.0.1", "198.18.0.1", "8.8.8.8"]
        .map(ip)
        .into();
    let judged = nothing.judge_addresses(Author::Operator, "a.io", 80, &addresses);
    assert_eq!(judged, Ok(()));
}
