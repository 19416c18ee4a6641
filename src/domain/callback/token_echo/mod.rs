//! Redacts callback URLs that EvoLink, or another sender, repeats in a body. Bodies are stored and
//! shown, and a callback token lets its holder report outcomes for its task. So the secret part of
//! each token is redacted before a body is used.
//!
//! The token that belongs to a request is known, so its MAC is found anywhere in the body. A token
//! of another submission is found in a callback URL of ours. Both are found in any spelling (see
//! `spelling`).

mod spelling;
#[cfg(test)]
mod tests;

use std::ops::Range;

use bytes::Bytes;
use memchr::memmem;

use super::Subject;

/// The text that replaces a secret.
pub const REDACTED: &str = "[redacted]";

/// The end of our callback URLs before the token.
const BEFORE: &[u8] = b"callbacks/";

/// The last path segment before a token. Bodies with other URLs seldom contain it.
const SEGMENT: &[u8] = b"callbacks";

/// The length of a SHA-256 in base64.
const MAC_BYTES: usize = 43;

/// Longer than any key id and subject together.
const NAMES_BYTES_MAX: usize = 128;

/// The longest escape of one byte at three levels of JSON, if it is cut off before its end.
const CUT_ESCAPE_BYTES_MAX: usize = 16;

/// A body may be cut off in the middle of a known secret. Fewer bytes than this reveal nothing.
const CUT_SECRET_BYTES_MIN: usize = 6;

/// Replaces each secret in `known`, and the MAC of each callback token in a URL, with `[redacted]`.
/// Valid JSON stays valid.
pub fn redact<S: AsRef<[u8]>>(body: Bytes, known: &[S]) -> Bytes {
    let places = places(&body, known);
    if places.is_empty() {
        return body;
    }
    let mut redacted = Vec::with_capacity(body.len());
    let mut copied = 0;
    for place in places {
        redacted.extend_from_slice(&body[copied..place.start]);
        redacted.extend_from_slice(REDACTED.as_bytes());
        copied = place.end;
    }
    redacted.extend_from_slice(&body[copied..]);
    redacted.into()
}

/// Whether `redact` would replace something in `text`.
pub fn is_found<S: AsRef<[u8]>>(text: &[u8], known: &[S]) -> bool {
    !places(text, known).is_empty()
}

/// Returns the places of the secrets, ordered and without overlap.
fn places<S: AsRef<[u8]>>(body: &[u8], known: &[S]) -> Vec<Range<usize>> {
    let mut places = found(body, known);
    if is_spelled(body, known) {
        spelling::each_level(body, &mut |level| {
            let found = found(level.text(), known).into_iter();
            places.extend(found.map(|range| level.place(range)));
        });
    }
    for place in &mut places {
        place.start = start_of_escape(body, place.start);
        place.end = spelling::end_of_escape(body, place);
    }
    places.sort_unstable_by_key(|place| place.start);
    places.dedup_by(|later, earlier| {
        let overlaps = later.start < earlier.end;
        if overlaps {
            earlier.end = earlier.end.max(later.end);
        }
        overlaps
    });
    places
}

/// Whether a secret may be there in an encoded spelling that a search of the plain text misses. Few
/// bodies have escapes that matter here, so few are decoded.
fn is_spelled<S: AsRef<[u8]>>(body: &[u8], known: &[S]) -> bool {
    let mut is_in_secret = [false; 256];
    for byte in known.iter().flat_map(AsRef::as_ref) {
        is_in_secret[usize::from(*byte)] = true;
    }
    let in_name = |byte: u8| byte.is_ascii_alphanumeric() || is_in_secret[usize::from(byte)];
    let in_url = |byte: u8| in_name(byte) || b"/.~-_".contains(&byte);
    spelling::has_escaped(body, in_name)
        || (memmem::find(body, SEGMENT).is_some() && spelling::has_escaped(body, in_url))
}

/// Finds the secrets in `text` without decoding it.
fn found<S: AsRef<[u8]>>(text: &[u8], known: &[S]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    for secret in known
        .iter()
        .map(AsRef::as_ref)
        .filter(|secret| !secret.is_empty())
    {
        let all = memmem::find_iter(text, secret);
        found.extend(all.map(|at| at..at + secret.len()));
        found.extend(cut_off(text, secret));
    }
    let mut from = 0;
    while let Some(at) = memmem::find(&text[from..], BEFORE) {
        from += at + BEFORE.len();
        if let Some(mac) = mac_at(text, from) {
            from = mac.end;
            found.push(mac);
        }
    }
    found
}

/// Finds a beginning of `secret` at the end of `text`, where the text was cut off.
fn cut_off(text: &[u8], secret: &[u8]) -> Option<Range<usize>> {
    let longest = text.len().min(secret.len() - 1);
    let bytes = (CUT_SECRET_BYTES_MIN..=longest)
        .rev()
        .find(|bytes| text.ends_with(&secret[..*bytes]))?;
    Some(text.len() - bytes..text.len())
}

/// Finds the MAC of the token that starts at `at`.
fn mac_at(text: &[u8], at: usize) -> Option<Range<usize>> {
    let names = &text[at..text.len().min(at + NAMES_BYTES_MAX)];
    let mut dots = names.iter().enumerate().filter(|(_, byte)| **byte == b'.');
    let (_, (last, _)) = (dots.next()?, dots.next()?);
    let (_, subject) = std::str::from_utf8(&names[..last]).ok()?.split_once('.')?;
    subject.parse::<Subject>().ok()?;
    let begin = at + last + 1;
    let is_mac = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let bytes = text[begin..]
        .iter()
        .take(MAC_BYTES)
        .take_while(is_mac)
        .count();
    let rest = &text[begin + bytes..];
    // The body may have been cut off in the middle of the MAC.
    let is_cut =
        rest.is_empty() || (matches!(rest[0], b'\\' | b'%') && rest.len() <= CUT_ESCAPE_BYTES_MAX);
    match bytes {
        MAC_BYTES => Some(begin..begin + bytes),
        1.. if is_cut => Some(begin..text.len()),
        _ => None,
    }
}

/// Returns the start of the JSON escape that contains `at`, or `at` if there is none.
fn start_of_escape(body: &[u8], at: usize) -> usize {
    let nearest = (1..=5.min(at)).find(|back| body[at - back] == b'\\');
    let Some(slash) = nearest.map(|back| at - back) else {
        return at;
    };
    let run = body[..=slash]
        .iter()
        .rev()
        .take_while(|byte| **byte == b'\\');
    if run.count().is_multiple_of(2) {
        return at;
    }
    let bytes = if body.get(slash + 1) == Some(&b'u') {
        6
    } else {
        2
    };
    if slash + bytes > at { slash } else { at }
}
