use proptest::prelude::*;

use std::fmt::Write as _;

use super::*;
use crate::domain::callback::KeyRing;
use crate::domain::ids::SubmissionId;
use crate::domain::timestamp::Timestamp;

const NONE: [&str; 0] = [];

fn tokens() -> [String; 2] {
    let ring = KeyRing::parse(&format!("k1 {}", "ab".repeat(32))).unwrap();
    let id = SubmissionId::new(Timestamp::from_millis(1_757_165_031_000));
    [
        ring.mint(&Subject::Submission(id)),
        ring.mint(&Subject::Standing("a".repeat(64).parse().unwrap())),
    ]
}

fn redacted(body: &str, known: &[&str]) -> String {
    let body = redact(Bytes::from(body.to_owned()), known);
    String::from_utf8(body.to_vec()).unwrap()
}

#[test]
fn the_secret_of_each_callback_url_is_redacted_however_it_is_spelled() {
    for token in tokens() {
        let (rest, mac) = token.rsplit_once('.').unwrap();
        assert_eq!(mac.len(), MAC_BYTES);
        for (before, dot) in [
            ("https://h/callbacks/", "."),
            (r"https:\/\/h\/callbacks\/", "."),
            (r"https:\u002f\u002fh\u002Fcallbacks\u002f", "."),
            (r"https:\\\/\\\/h\\\/callbacks\\\/", "."),
            ("https%3A%2F%2Fh%2Fcallbacks%2F", "%2E"),
            ("https%253A%252F%252Fh%252Fcallbacks%252F", "%252e"),
            ("callbacks callbacks/callbacks/", r"\u002e"),
            (r"/c\u0061llb%61cks/", "."),
        ] {
            for mark in ["-", "%2D", r"\u002d", "~", "%7E", r"\u007e"] {
                let marked = rest.replace("k1.-", &format!("k1.{mark}"));
                let names = marked.replace('.', dot);
                let start = format!("{before}{names}{dot}");
                let body = format!(r#"{{"a":"{start}{mac}","b":"{start}{mac}?x"}}"#);
                let expected = format!(r#"{{"a":"{start}{REDACTED}","b":"{start}{REDACTED}?x"}}"#);
                assert_eq!(redacted(&body, &NONE), expected, "{body}");
            }
        }
    }
}

fn each_byte(bytes: &[u8], spelled: impl Fn(&u8) -> String) -> String {
    bytes.iter().map(spelled).collect::<Vec<_>>().concat()
}

#[test]
fn the_known_secret_is_redacted_wherever_it_is() {
    for token in tokens() {
        let (_, mac) = token.rsplit_once('.').unwrap();
        let spelled: String = each_byte(mac.as_bytes(), |byte| format!("\\u00{byte:02x}"));
        let percent: String = each_byte(mac.as_bytes(), |byte| format!("%25{byte:02X}"));
        let nested = serde_json::to_string(&format!("{{\"a\":\"{spelled}\"}}")).unwrap();
        for (body, expected) in [
            (mac.to_owned(), REDACTED.to_owned()),
            (format!("x{mac}{mac}y"), format!("x{REDACTED}{REDACTED}y")),
            (format!(r#"["{spelled}"]"#), format!(r#"["{REDACTED}"]"#)),
            (format!(r#"["{percent}"]"#), format!(r#"["{REDACTED}"]"#)),
            (nested, format!(r#""{{\"a\":\"{REDACTED}\"}}""#)),
            (format!("cut {}", &mac[..9]), format!("cut {REDACTED}")),
        ] {
            assert_eq!(redacted(&body, &[mac]), expected, "{body}");
        }
        assert_eq!(
            redacted(&format!("a {}", &mac[1..]), &[mac]),
            format!("a {}", &mac[1..])
        );
    }
}

#[test]
fn what_there_is_of_a_secret_is_redacted_where_a_body_was_cut_off() {
    for token in tokens() {
        let (rest, mac) = token.rsplit_once('.').unwrap();
        for bytes in 1..mac.len() {
            for cut in ["", r"\", r"\u00", "%", "%2"] {
                let body = format!("/callbacks/{rest}.{}{cut}", &mac[..bytes]);
                assert_eq!(
                    redacted(&body, &NONE),
                    format!("/callbacks/{rest}.{REDACTED}")
                );
            }
        }
    }
}

#[test]
fn nothing_else_is_touched() {
    let [token, _] = tokens();
    let cut = &token[..token.len() - 1];
    for body in [
        r#"{"id":"t","status":"completed","results":["https://files.evolink.ai/callbacks/0.webp"]}"#.to_owned(),
        format!("https://files.evolink.ai/results/{token}"),
        format!("/callbacks/{cut}\""),
        format!("/callbacks/a.b.{}", "c".repeat(43)),
        "callbacks".to_owned(),
        "callbacks/".to_owned(),
        "callbacks/..".to_owned(),
        r#"{"p":"a \"b\" \\ \n \u4e2d %2F%41 c:\\users\\u0041"}"#.to_owned(),
        String::new(),
    ] {
        assert_eq!(redacted(&body, &["another secret"]), body);
    }
    let not_text = Bytes::from_static(b"\xff callbacks/\xff.\xff.");
    assert_eq!(redact(not_text.clone(), &NONE), not_text);
}

#[test]
fn json_stays_json_where_a_secret_begins_inside_of_an_escape() {
    for (secret, body) in [
        ("nABCDEF", r#"["\nABCDEF"]"#),
        ("0041BCDEF", r#"["x\u0041BCDEF"]"#),
        ("nABCDEF", r#"["\\nABCDEF"]"#),
        ("nABCDEF", r#"["%6eABCDEF\"b\\"]"#),
    ] {
        let redacted = redacted(body, &[secret]);
        assert!(redacted.contains(REDACTED), "{redacted}");
        serde_json::from_str::<Vec<String>>(&redacted).unwrap();
    }
}

/// One way to write a text inside another.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// As the content of a JSON string. Each character with a bit in the mask is written as
    /// `\u00XX`.
    Json(u64),
    /// Percent-encoded: each character with a bit in the mask, and each that must be encoded.
    Percent(u64),
}

impl Step {
    fn apply(self, text: &str) -> String {
        let mut written = String::new();
        for (n, byte) in text.bytes().enumerate() {
            let is_picked = |mask: u64| (mask >> (n % 64)) & 1 == 1;
            match self {
                Self::Json(mask) if is_picked(mask) => write!(written, "\\u{byte:04x}").unwrap(),
                Self::Json(_) if matches!(byte, b'"' | b'\\') => {
                    written.push('\\');
                    written.push(byte.into());
                }
                Self::Percent(mask) if is_picked(mask) || byte == b'%' => {
                    write!(written, "%{byte:02X}").unwrap();
                }
                Self::Json(_) | Self::Percent(_) => written.push(byte.into()),
            }
        }
        written
    }
}

fn undone(steps: &[Step], text: &str) -> String {
    steps
        .iter()
        .rev()
        .fold(text.to_owned(), |text, step| match step {
            Step::Json(_) => serde_json::from_str(&format!("\"{text}\"")).unwrap_or(text),
            Step::Percent(_) => percent_decoded(&text),
        })
}

fn percent_decoded(text: &str) -> String {
    url::form_urlencoded::parse(format!("a={}", text.replace('+', "%2B")).as_bytes())
        .map(|(_, value)| value.into_owned())
        .next()
        .unwrap_or_default()
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    // Most masks are sparse, so that three levels stay short.
    let mask = prop_oneof![
        Just(0),
        any::<u64>().prop_map(|mask| mask & mask.rotate_left(7))
    ];
    let json = proptest::collection::vec(mask.clone().prop_map(Step::Json), 0..=3);
    let percent = proptest::collection::vec(mask.prop_map(Step::Percent), 0..=3);
    (json, percent)
        .prop_map(|(json, percent)| [json, percent].concat())
        .prop_shuffle()
}

proptest! {
    #[test]
    fn no_mix_of_spellings_hides_a_token(
        steps in steps(),
        key in any::<[u8; 32]>(),
        is_standing in any::<bool>(),
        is_known in any::<bool>(),
        around in "[ -~]{0,20}",
    ) {
        let hex: String = each_byte(&key, |byte| format!("{byte:02x}"));
        let ring = KeyRing::parse(&format!("k1 {hex}")).unwrap();
        let subject = if is_standing {
            Subject::Standing("shop-1".parse().unwrap())
        } else {
            Subject::Submission(SubmissionId::new(Timestamp::from_millis(1_757_165_031_000)))
        };
        let token = ring.mint(&subject);
        let mac = token.rsplit_once('.').unwrap().1;
        // A known MAC is found anywhere, so use it bare. An unknown token is found only in a
        // callback URL.
        let text = if is_known {
            format!("x{mac}.{around}")
        } else {
            format!("https://h/callbacks/{token}?{around}")
        };
        let spelled = steps.iter().fold(text, |text, step| step.apply(&text));
        let known: Vec<&str> = is_known.then_some(mac).into_iter().collect();
        let outer = serde_json::to_string(&serde_json::json!({"id": "t", "a": spelled})).unwrap();
        let kept = redacted(&outer, &known);
        // Decode the JSON as a reader would, and then undo the encoding steps.
        let read: serde_json::Value = serde_json::from_str(&kept).unwrap();
        let inner = read["a"].as_str().unwrap();
        prop_assert!(!kept.contains(mac), "{kept}");
        prop_assert!(inner.contains(REDACTED), "{kept}");
        prop_assert!(!undone(&steps, inner).contains(mac), "{kept}");
    }

    #[test]
    fn a_body_without_a_token_is_left_as_it_is(body in "([ -~]|callbacks/|\\\\u0041|%25){0,60}") {
        prop_assert_eq!(redacted(&body, &["0123456789abcdef0123456789abcdef0123456789A"]), body);
    }
}
