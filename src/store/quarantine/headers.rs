//! What is kept of the headers that came with a body: enough to see who sent it, and no secret.

use http::HeaderMap;

use crate::domain::callback_token::Subject;

/// Headers that may hold somebody's secret.
const NOT_KEPT: [&str; 5] = [
    "authorization",
    "proxy-authorization",
    "cookie",
    "set-cookie",
    "x-api-key",
];

/// One `name: value` a line; bytes that are not UTF-8 are shown as U+FFFD. Without what may be a secret.
pub fn headers_text(headers: &HeaderMap, subject: &Subject) -> String {
    let mut text = String::new();
    for (name, value) in headers {
        let value = String::from_utf8_lossy(value.as_bytes());
        if NOT_KEPT.contains(&name.as_str()) || may_hold_token(&value, subject) {
            continue;
        }
        text.push_str(name.as_str());
        text.push_str(": ");
        text.push_str(&value);
        text.push('\n');
    }
    text
}

/// A proxy may have put the path that was asked for into a header, and with it the callback token.
fn may_hold_token(value: &str, subject: &Subject) -> bool {
    match subject {
        Subject::Submission(id) => value.contains(&id.to_string()),
        Subject::Standing(label) => ["~", "%7E", "%7e"]
            .iter()
            .any(|tilde| value.contains(&format!("{tilde}{label}."))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_kept_without_what_may_be_a_secret() {
        let subject = Subject::Standing("shop".parse().unwrap());
        let headers = [
            ("content-type", "text/plain; of a shop."),
            ("authorization", "Bearer x"),
            ("set-cookie", "x"),
            ("x-original-uri", "/callbacks/k1.%7Eshop.mac"),
            ("x-forwarded-uri", "/callbacks/k1.~shop.mac"),
        ];
        let headers = headers.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        let text = headers_text(&HeaderMap::from_iter(headers), &subject);
        assert_eq!(text, "content-type: text/plain; of a shop.\n");
    }
}
