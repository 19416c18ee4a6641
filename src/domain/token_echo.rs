//! Callback URLs that EvoLink, or whoever else sends us something, repeats in a body. Bodies are kept and shown, and whoever
//! knows a callback token may speak for its task: so its secret part is struck out before anything else is done.

use std::ops::Range;

use bytes::Bytes;
use memchr::memmem;

use super::callback_token::Subject;

/// What stands before a token, however the slash after it is spelt.
const BEFORE: &[u8] = b"callbacks";
const SLASHES: [&[u8]; 4] = [b"/", b"\\/", b"%2F", b"%2f"];

/// SHA-256 in base64.
const MAC_BYTES: usize = 43;

/// More than the longest key id and subject.
const NAMES_BYTES_MAX: usize = 128;

/// The body with a `*` for each character of the MAC of each callback token in a URL; its length stays.
pub fn strike_out(body: Bytes) -> Bytes {
    let mut struck: Option<Vec<u8>> = None;
    let mut from = 0;
    while let Some(at) = memmem::find(&body[from..], BEFORE) {
        let after = from + at + BEFORE.len();
        from = after;
        if let Some(mac) = mac_after(&body, after) {
            from = mac.end;
            struck.get_or_insert_with(|| body.to_vec())[mac].fill(b'*');
        }
    }
    struck.map_or(body, Bytes::from)
}

/// Where the MAC is of the token that begins with a slash at `at`.
fn mac_after(body: &[u8], at: usize) -> Option<Range<usize>> {
    let rest = &body[at..];
    let slash = SLASHES.iter().find(|slash| rest.starts_with(slash))?;
    let names = &rest[slash.len()..];
    let names = &names[..names.len().min(NAMES_BYTES_MAX)];
    let mut dots = names.iter().enumerate().filter(|(_, byte)| **byte == b'.');
    let (_, (last, _)) = (dots.next()?, dots.next()?);
    let (_, subject) = std::str::from_utf8(&names[..last]).ok()?.split_once('.')?;
    let subject = subject.replace("%7E", "~").replace("%7e", "~");
    subject.parse::<Subject>().ok()?;
    let begin = at + slash.len() + last + 1;
    // The body may have been cut off in the middle of it.
    let mac = begin..body.len().min(begin + MAC_BYTES);
    let is_mac = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    body.get(mac.clone())?.iter().all(is_mac).then_some(mac)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::callback_token::KeyRing;
    use crate::domain::ids::SubmissionId;
    use crate::domain::timestamp::Timestamp;

    fn tokens() -> [String; 2] {
        let ring = KeyRing::parse(&format!("k1 {}", "ab".repeat(32))).unwrap();
        let id = SubmissionId::new(Timestamp::from_millis(1_757_165_031_000));
        [
            ring.mint(&Subject::Submission(id)),
            ring.mint(&Subject::Standing("a".repeat(64).parse().unwrap())),
        ]
    }

    #[test]
    fn the_secret_of_each_callback_url_is_struck_out_however_it_is_spelt() {
        for token in tokens() {
            let (rest, mac) = token.rsplit_once('.').unwrap();
            assert_eq!(mac.len(), MAC_BYTES);
            for (before, token) in [
                ("https://h/callbacks/", token.clone()),
                (r"https:\/\/h\/callbacks\/", token.clone()),
                ("https%3A%2F%2Fh%2Fcallbacks%2F", token.clone()),
                ("/callbacks/", token.replace('~', "%7E")),
                ("callbacks callbacks/callbacks/", token.clone()),
            ] {
                let rest = if token.contains("%7E") {
                    rest.replace('~', "%7E")
                } else {
                    rest.to_owned()
                };
                let body = format!(r#"{{"a":"{before}{token}","b":"{before}{token}?x"}}"#);
                let struck = strike_out(Bytes::from(body.clone()));
                let stars = "*".repeat(MAC_BYTES);
                let expected =
                    format!(r#"{{"a":"{before}{rest}.{stars}","b":"{before}{rest}.{stars}?x"}}"#);
                assert_eq!(struck, expected.as_bytes(), "{body}");
            }
        }
    }

    #[test]
    fn what_there_is_of_a_secret_is_struck_out_where_a_body_was_cut_off() {
        for token in tokens() {
            let (rest, mac) = token.rsplit_once('.').unwrap();
            for bytes in 0..mac.len() {
                let body = format!("/callbacks/{rest}.{}", &mac[..bytes]);
                let struck = strike_out(Bytes::from(body));
                assert_eq!(
                    struck,
                    format!("/callbacks/{rest}.{}", "*".repeat(bytes)).as_bytes()
                );
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
            String::new(),
        ] {
            assert_eq!(strike_out(Bytes::from(body.clone())), body.as_bytes());
        }
        let not_text = Bytes::from_static(b"\xff callbacks/\xff.\xff.");
        assert_eq!(strike_out(not_text.clone()), not_text);
    }
}
