//! Tests from where results may be fetched: rows U1 to U7 of the bad inputs.

use super::super::results::*;
use super::*;

const LISTED: [&str; 2] = ["files.evolink.ai", "*.cdn.example"];

fn results(networks: &[&str]) -> ResultRules {
    ResultRules {
        allowed_hosts: AllowedHosts::new(&LISTED.map(String::from)),
        allow_networks: networks.iter().map(|n| n.parse().unwrap()).collect(),
    }
}

fn fault(rules: &ResultRules, text: &str) -> Option<UrlFault> {
    rules.judge(text).err().map(|refused| refused.fault)
}

/// Every one of these is refused, also when an operator has allowed a private network.
const REFUSED: [(&str, &[&str]); 6] = [
    (
        "U1",
        &[
            "javascript:alert(1)",
            "data:image/svg+xml,<svg/>",
            "data:image/svg+xml;base64,PHN2Zy8+",
            "file:///etc/passwd",
            "ftp://files.evolink.ai/0.webp",
            "blob:https://files.evolink.ai/0",
            "blob://files.evolink.ai/0",
            "javascript://files.evolink.ai/%0aalert(1)",
        ],
    ),
    (
        "U2",
        &[
            "https://127.0.0.1/",
            "https://2130706433/",
            "https://0x7f.1/",
            "https://0177.0.0.1/",
            "https://127.1/",
            "https://127.0.0.1./",
            "https://0/",
            "https://①②⑦.⓪.⓪.①/",
            "https://[::1]/",
            "https://[::ffff:127.0.0.1]/",
            "https://%31%32%37.0.0.1/",
        ],
    ),
    (
        "U3",
        &[
            "https://169.254.169.254/latest/meta-data/",
            "https://10.0.0.1/",
            "https://172.16.0.1/",
            "https://192.168.0.1/",
            "https://100.64.0.1/",
            "https://224.0.0.1/",
            "https://8.8.8.8/",
        ],
    ),
    (
        "U4",
        &[
            "https://localhost/",
            "https://files.evolink.ai.evil.example/",
            "https://evilfiles.evolink.ai/",
            "https://evil.example#@files.evolink.ai/",
            "https://evil.example?@files.evolink.ai/",
            "https://files.evolink.ai@evil.example/",
            "https://files.evolink.ai%2f@evil.example/",
            "https://cdn.example/",
            "https://xcdn.example/",
        ],
    ),
    (
        "U5",
        &[
            "https://user:pw@files.evolink.ai/",
            "https://user@files.evolink.ai/",
            "https://:@files.evolink.ai/",
            "https://@files.evolink.ai/",
        ],
    ),
    (
        "U6",
        &[
            "//h/x",
            "//files.evolink.ai/x",
            "/rel",
            "https:h/x",
            "https:files.evolink.ai/x",
            "https:/files.evolink.ai/x",
            "https:\\\\files.evolink.ai\\x",
            "https://",
            "https:///files.evolink.ai/x",
            "",
            "https://files.evolink.ai/a\tb",
            "https://files.evolink.ai/a\nb",
            "ht\ntps://files.evolink.ai/",
            " https://files.evolink.ai/",
            "https://files.evolink.ai/ ",
            "https://files.evolink.ai\\@evil.example/",
            "https://files.evolink.ai/\u{7f}",
            "https://files.evolink.ai/\u{a0}",
            "https://files.evolink.ai:0/",
        ],
    ),
];

#[test]
fn every_forbidden_url_is_refused() {
    for rules in [results(&[]), results(&["10.99.0.0/16", "fd99::/32"])] {
        for (row, texts) in REFUSED {
            for text in texts {
                assert!(rules.judge(text).is_err(), "{row}: {text:?}");
            }
        }
        let path = "a".repeat(5000);
        let long = format!("https://files.evolink.ai/{path}");
        assert!(rules.judge(&long).is_err());
    }
}

#[test]
fn http_and_other_ports_need_a_listed_network() {
    let plain = results(&[]);
    let text = "http://files.evolink.ai/0.webp";
    assert_eq!(fault(&plain, text), Some(UrlFault::NotHttps));
    let text = "https://files.evolink.ai:8443/0.webp";
    assert_eq!(fault(&plain, text), Some(UrlFault::NotPort443));
    let text = "http://files.evolink.ai:443/0.webp";
    assert_eq!(fault(&plain, text), Some(UrlFault::NotHttps));
    let mirror = results(&["10.99.0.0/16"]);
    for text in [
        "http://files.evolink.ai/0.webp",
        "https://files.evolink.ai:8443/0",
    ] {
        let admitted = mirror.judge(text).unwrap();
        assert_eq!(admitted.way, Way::Listed, "{text}");
        let judged = |addresses: &[IpAddr]| {
            mirror.judge_addresses(admitted.way, "files.evolink.ai", addresses)
        };
        assert!(judged(&[ip("10.99.0.1")]).is_ok());
        // Not even a public address: only https proves there who answers.
        assert!(judged(&[ip("8.8.8.8")]).is_err());
        assert!(judged(&[ip("10.99.0.1"), ip("10.98.0.1")]).is_err());
    }
}

#[test]
fn a_listed_host_is_admitted_in_every_spelling() {
    for text in [
        "https://files.evolink.ai/0.webp?sig=a%2Fb&x=@",
        "HTTPS://FILES.EvoLink.ai./0.webp",
        "https://files.evolink.ai:443/0.webp",
        "https://files.evolink.ai",
        "https://files.evolink.ai/#a",
        "https://a.cdn.example/0",
        "https://a.b.cdn.example/0",
        "https://ｆiles.evolink.ai/0",
    ] {
        let admitted = results(&[]).judge(text).expect(text);
        assert_eq!(admitted.way, Way::Public, "{text}");
    }
    let path = "a".repeat(2048 - "https://files.evolink.ai/".len());
    let longest = format!("https://files.evolink.ai/{path}");
    assert!(results(&[]).judge(&longest).is_ok());
    assert!(results(&[]).judge(&format!("{longest}a")).is_err());
    let two_bytes_each = format!("https://files.evolink.ai/{}", "é".repeat(1024));
    assert!(results(&[]).judge(&two_bytes_each).is_err());
}

#[test]
fn an_address_in_a_listed_network_needs_no_name_and_no_https() {
    let rules = results(&["127.0.0.0/8", "::1/128", "169.254.0.0/16"]);
    for text in [
        "http://127.0.0.1:8000/0.webp",
        "https://127.0.0.1/0.webp",
        "http://[::1]:8000/0",
        "http://[::ffff:127.0.0.1]/0",
    ] {
        let admitted = rules.judge(text).expect(text);
        assert_eq!(admitted.way, Way::Listed);
    }
    assert_eq!(
        fault(&rules, "http://10.0.0.1/"),
        Some(UrlFault::Literal),
        "another network"
    );
    let metadata = "http://169.254.169.254/latest/";
    assert_eq!(fault(&rules, metadata), Some(UrlFault::Literal));
    assert!(rules.judge("http://localhost:8000/").is_err(), "not listed");
}

#[test]
fn all_addresses_of_a_name_must_be_public() {
    let judged = |networks: &[&str], addresses: &str| {
        let addresses: Vec<_> = addresses.split(' ').map(ip).collect();
        results(networks)
            .judge_addresses(Way::Public, "files.evolink.ai", &addresses)
            .is_ok()
    };
    for good in ["8.8.8.8", "2606:4700::1", "8.8.8.8 1.1.1.1 2606:4700::1"] {
        assert!(judged(&[], good), "{good}");
    }
    for bad in [
        "127.0.0.1",
        "::1",
        "fc00::1",
        "fe80::1",
        "10.0.0.1",
        "192.168.0.1",
        "100.64.0.1",
        "198.18.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::a00:1",
        "2002:7f00:1::1",
        "8.8.8.8 10.0.0.1",
        "fc00::1 8.8.8.8",
    ] {
        assert!(!judged(&[], bad), "{bad}");
    }
    assert!(judged(&["10.0.0.0/8"], "8.8.8.8 10.0.0.1"));
    for never in NEVER {
        assert!(!judged(&["0.0.0.0/0", "::/0"], never), "{never}");
    }
}

#[test]
fn a_refusal_shows_the_host_and_neither_path_nor_query() {
    let text = "http://files.evolink.ai/secret-path?signature=secret-query";
    let shown = results(&[]).judge(text).unwrap_err().to_string();
    assert_eq!(
        shown,
        "files.evolink.ai:80 is not fetched: the URL is not https"
    );
}
