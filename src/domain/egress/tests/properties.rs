//! Properties that hold for every address and every text.

use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;

/// Writes one number of an address in one of the notations that the URL parser reads.
fn number(value: u32, way: u8) -> String {
    match way {
        0 => value.to_string(),
        1 => format!("{value:#x}"),
        2 => format!("0{value:o}"),
        3 => format!("0X{value:08X}"),
        // The parser also reads full-width digits.
        _ => value
            .to_string()
            .chars()
            .filter_map(|digit| char::from_u32(u32::from(digit) - u32::from('0') + 0xff10))
            .collect(),
    }
}

/// Writes `address` as `parts` numbers. The last number contains the remaining octets.
fn spelling(address: Ipv4Addr, parts: usize, ways: [u8; 4]) -> String {
    let octets = address.octets();
    let first = octets[..parts - 1].iter().map(|octet| u32::from(*octet));
    let rest = octets[parts - 1..].iter();
    let rest = rest.fold(0, |rest, octet| rest << 8 | u32::from(*octet));
    let numbers = first.chain([rest]).zip(ways);
    let numbers: Vec<_> = numbers.map(|(value, way)| number(value, way)).collect();
    numbers.join(".")
}

/// Generates addresses. Prefers the special ranges, which random octets seldom hit.
fn any_v4() -> impl Strategy<Value = Ipv4Addr> {
    let first = prop_oneof![
        any::<u8>(),
        proptest::sample::select(vec![0_u8, 10, 100, 127, 169, 172, 192, 198, 203, 224, 255])
    ];
    let second = prop_oneof![
        any::<u8>(),
        proptest::sample::select(vec![0_u8, 18, 51, 64, 88, 168, 254])
    ];
    (first, second, any::<[u8; 2]>()).prop_map(|(a, b, [c, d])| Ipv4Addr::new(a, b, c, d))
}

/// Mostly schemes that the parser accepts.
fn scheme() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(vec![
        "http://", "http://", "HTTPS://", "http:", "http:///", "", "ftp://",
    ])
}

/// Pieces that tricky URLs are made of.
fn pieces() -> impl Strategy<Value = Vec<&'static str>> {
    let pieces = vec![
        "a.io",
        "a.io",
        "b.io",
        "x.b.io",
        "x.",
        "evil.example",
        ":80",
        ":443",
        ":",
        "@",
        "/",
        "\\",
        "#",
        "?",
        "%2e",
        ".",
        "\u{ff0e}",
        "\u{3002}",
        "%00",
        "%2f",
        "%40",
        "\t",
        " ",
        "[::1]",
        "127.1",
    ];
    prop::collection::vec(proptest::sample::select(pieces), 1..6)
}

/// The prefixes that can be followed by an IPv4 address in the last 32 bits.
const PREFIXES: [&str; 5] = [
    "::ffff:0:0",
    "64:ff9b::",
    "64:ff9b:1::",
    "::ffff:0:0:0",
    "::",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn every_spelling_of_an_address_is_judged_like_it(address in any_v4(), parts in 1..=4_usize, ways in prop::array::uniform4(0..5_u8), port in 1..=u16::MAX) {
        let plain = address.to_string();
        let spelt = spelling(address, parts, ways);
        for listed in [&plain, "127.0.0.1"] {
            let rules = rules(&[listed], &[]);
            let expected = judged(&rules, &format!("http://{plain}:{port}/"));
            let by_spelling = judged(&rules, &format!("http://{spelt}:{port}/"));
            prop_assert_eq!(by_spelling, expected, "{}", spelt);
        }
    }

    #[test]
    fn no_ipv6_address_is_better_than_the_ipv4_address_in_it(address in any_v4()) {
        let plain = Class::of(address.into());
        for prefix in PREFIXES {
            let prefix: Ipv6Addr = prefix.parse().unwrap();
            let hiding = Ipv6Addr::from_bits(prefix.to_bits() | u128::from(address.to_bits()));
            // These two addresses contain no IPv4 address.
            if hiding.is_unspecified() || hiding.is_loopback() {
                continue;
            }
            let class = Class::of(hiding.into());
            prop_assert!(class == plain || (plain == Class::Public && class == Class::Reserved), "{}: {:?}", hiding, class);
        }
        let six_to_four = Ipv6Addr::from_bits(0x2002 << 112 | u128::from(address.to_bits()) << 80 | 1);
        prop_assert_eq!(Class::of(six_to_four.into()), plain);
    }

    #[test]
    fn whatever_is_admitted_is_on_the_list_to_every_reader(scheme in scheme(), pieces in pieces()) {
        let rules = rules(&["a.io:80", "*.b.io"], &[]);
        let text = format!("{scheme}{}", pieces.concat());
        if rules.judge_text(&text).is_ok() {
            let lower = text.to_ascii_lowercase();
            let rest = lower.strip_prefix("http://").or_else(|| lower.strip_prefix("https://")).unwrap();
            let authority = rest.split(['/', '?']).next().unwrap();
            let host = authority.split(':').next().unwrap().replace(['\u{ff0e}', '\u{3002}'], ".").replace("%2e", ".");
            let host = host.trim_end_matches('.');
            prop_assert!(host == "a.io" || host.ends_with(".b.io"), "{}", text);
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in ".{0,200}", name in ".{0,40}", address in any::<u128>()) {
        let rules = rules(&["*.io", &name], &["10.0.0.0/8"]);
        let _ = rules.judge_text(&text);
        let _ = rules.judge_text(&format!("http://{text}"));
        let addresses = [Ipv6Addr::from_bits(address).into()];
        let _ = rules.judge_addresses(Author::App, &name, 1, &addresses);
    }
}
