//! `Prefer` (RFC 7240): optional wishes of a client. `wait` is the only preference that is
//! supported. Unknown and malformed preferences are ignored, as the RFC requires.

use http::{HeaderMap, HeaderName};

pub static PREFER: HeaderName = HeaderName::from_static("prefer");
pub static PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// The value of `wait` without its quotes. If there are several, the first counts, across all
/// headers.
pub fn wait(headers: &HeaderMap) -> Option<String> {
    let lines = headers.get_all(&PREFER).iter();
    let lines = lines.filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| split(line, ',')).find_map(wait_of)
}

/// The value of one preference if it is `wait`. Parameters, which follow a semicolon, are ignored:
/// `wait` has none.
fn wait_of(preference: &str) -> Option<String> {
    let preference = split(preference, ';').next()?;
    let (name, value) = preference.split_once('=').unwrap_or((preference, ""));
    let is_wait = name.trim().eq_ignore_ascii_case("wait");
    is_wait.then(|| unquoted(value.trim()))
}

/// Splits `text` at the separators that are outside quotes.
fn split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    text.split(move |character| {
        let separates = character == separator && !is_quoted;
        if character == '"' && !is_escaped {
            is_quoted = !is_quoted;
        }
        is_escaped = character == '\\' && is_quoted && !is_escaped;
        separates
    })
}

fn unquoted(value: &str) -> String {
    let inside = value
        .strip_prefix('"')
        .and_then(|value| value.strip_suffix('"'));
    let Some(inside) = inside else {
        return value.to_owned();
    };
    let mut text = String::new();
    let mut characters = inside.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => text.extend(characters.next()),
            other => text.push(other),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait_in(lines: &[&str]) -> Option<String> {
        let lines = lines.iter().map(|line| (PREFER.clone(), line.parse()));
        wait(&lines.map(|(name, line)| (name, line.unwrap())).collect())
    }

    #[test]
    fn wait_is_found_among_other_preferences_in_one_header_or_several() {
        for lines in [
            &["wait=10"][..],
            &["WAIT = 10"],
            &["respond-async, wait=10"],
            &["handling=lenient; a=b ,, Wait=\"10\";x"],
            &["return=minimal", "wait=10"],
            &["", ",", "wait=1\u{30};foo=\"a,b\""],
            &["foo=\"wait=1, \\\" wait=2\", wait=\"\\10\""],
            &["wait=10, wait=20", "wait=30"],
            &["foo; wait=1, wait=10"],
        ] {
            assert_eq!(wait_in(lines).as_deref(), Some("10"), "{lines:?}");
        }
    }

    #[test]
    fn what_is_no_wait_is_passed_over() {
        for lines in [
            &[][..],
            &[""],
            &["respond-async"],
            &["waiting=10"],
            &["foo=\"wait=10"],
            &["foo;wait=10"],
            &["foo=wait=10"],
        ] {
            assert_eq!(wait_in(lines), None, "{lines:?}");
        }
    }

    #[test]
    fn the_first_wait_counts_even_if_it_cannot_be_read() {
        for (lines, value) in [
            (&["wait, wait=10"][..], ""),
            (&["wait=\"\"", "wait=10"], ""),
            (&["wait=soon, wait=10"], "soon"),
            (&["wait=\"10"], "\"10"),
        ] {
            assert_eq!(wait_in(lines).as_deref(), Some(value), "{lines:?}");
        }
    }
}
