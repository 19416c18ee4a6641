//! The headers that are kept with a body in quarantine: enough to identify the sender, and no
//! secret.

use http::HeaderMap;

use crate::domain::callback::Subject;

/// The headers that are kept. Any other may hold a secret, because each proxy has its own header
/// names for the credentials that it forwards. EvoLink documents no header of its callbacks.
const KEPT: [&str; 8] = [
    "content-type",
    "content-length",
    "user-agent",
    "date",
    "x-request-id",
    "traceparent",
    "x-forwarded-for",
    "forwarded",
];

/// Returns the headers of `KEPT`, one `name: value` a line. Bytes that are not UTF-8 are shown as
/// U+FFFD. A value that may hold the callback token of `subject` is left out.
pub fn headers_text(headers: &HeaderMap, subject: &Subject) -> String {
    let mut text = String::new();
    for (name, value) in headers {
        let value = String::from_utf8_lossy(value.as_bytes());
        if !KEPT.contains(&name.as_str()) || may_hold_token(&value, subject) {
            continue;
        }
        text.push_str(name.as_str());
        text.push_str(": ");
        text.push_str(&value);
        text.push('\n');
    }
    text
}

/// Returns whether a value may hold the callback token. A proxy may have copied the requested path
/// into a header, and the token with it.
fn may_hold_token(value: &str, subject: &Subject) -> bool {
    match subject {
        Subject::Submission(id) => value.contains(&id.to_string()),
        Subject::Standing(label) => ["-", "~", "%7E", "%7e"]
            .iter()
            .any(|mark| value.contains(&format!("{mark}{label}."))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_headers_that_hold_no_secret_are_kept() {
        let subject = Subject::Standing("shop".parse().unwrap());
        let headers = [
            ("content-type", "text/plain; of a shop."),
            ("authorization", "Bearer x"),
            ("set-cookie", "x"),
            ("x-forwarded-access-token", "x"),
            ("cf-access-jwt-assertion", "x"),
            ("x-original-uri", "/"),
            ("user-agent", "/callbacks/k1.%7Eshop.mac"),
            ("x-request-id", "/callbacks/k1.~shop.mac"),
            ("traceparent", "/callbacks/k1.-shop.mac"),
            ("x-forwarded-for", "10.0.0.1"),
        ];
        let headers = headers.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        let text = headers_text(&HeaderMap::from_iter(headers), &subject);
        assert_eq!(
            text,
            "content-type: text/plain; of a shop.\nx-forwarded-for: 10.0.0.1\n"
        );
    }
}
