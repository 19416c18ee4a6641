//! Decodes the escapes of a text level by level. A secret may be repeated in JSON that is inside
//! other JSON, or in a URL that is in another URL's query. Single characters may be written as
//! `\u0041` or `%41`.
//!
//! The order in which JSON and percent-encoding were applied is unknown, so both are tried at each
//! level. The caller searches every decoded text. What it finds is reported as a place in the
//! original.

use std::collections::HashSet;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::ops::Range;

use memchr::memchr;

/// The body itself is JSON, and secrets may be three levels deeper.
const JSON_LEVELS_MAX: u32 = 4;
const PERCENT_LEVELS_MAX: u32 = 3;

/// The maximum total size of all texts that are decoded from one body. It bounds the time for a
/// hostile body. Few bodies need ten times their own length.
const BYTES_MAX: usize = 16 * 1024 * 1024;

/// One level of decoding: the text, and where each of its bytes starts in the original.
pub struct Level {
    text: Vec<u8>,
    /// Has one more entry than the text has bytes. The last entry is the end of the original.
    starts: Vec<u32>,
    /// Where each byte ends in the original. `None` if it ends where the next one starts.
    ends: Option<Vec<u32>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Escape {
    Json,
    Percent,
}

/// One escape, or a sign that starts no valid escape.
struct Unit {
    bytes: usize,
    /// The decoded byte. `None` if the unit stays as it is.
    decoded: Option<u8>,
}

impl Level {
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// Translates a place in this text into a place in the original. `range` must not be empty.
    pub fn place(&self, range: Range<usize>) -> Range<usize> {
        let end = match &self.ends {
            Some(ends) => ends[range.end - 1],
            None => self.starts[range.end],
        };
        self.starts[range.start] as usize..end as usize
    }

    /// Decodes one level of `text`. Returns `None` if there is nothing to decode.
    fn decoded(escape: Escape, text: &[u8], start_of: impl Fn(usize) -> u32) -> Option<Self> {
        let mut level: Option<Self> = None;
        // Everything before this position was copied to `level`, if there is one.
        let mut copied = 0;
        let mut at = 0;
        while let Some(found) = memchr(escape.sign(), &text[at..]) {
            at += found;
            let unit = escape.unit(&text[at..]);
            if let Some(byte) = unit.decoded {
                let level = level.get_or_insert_with(|| Self {
                    text: Vec::with_capacity(text.len()),
                    starts: Vec::with_capacity(text.len() + 1),
                    ends: None,
                });
                level.copy(text, copied..at, &start_of);
                level.text.push(byte);
                level.starts.push(start_of(at));
                copied = at + unit.bytes;
            }
            at += unit.bytes;
        }
        let mut level = level?;
        level.copy(text, copied..text.len(), &start_of);
        level.starts.push(start_of(text.len()));
        Some(level)
    }

    /// Returns the same text without backslashes, or `None` if it has none. Some encoders write
    /// unnecessary backslashes, as in `\_`.
    fn without_backslashes(&self) -> Option<Self> {
        memchr(b'\\', &self.text)?;
        let kept = || (0..self.text.len()).filter(|at| self.text[*at] != b'\\');
        Some(Self {
            text: kept().map(|at| self.text[at]).collect(),
            starts: kept().map(|at| self.starts[at]).collect(),
            // A backslash after a byte belongs to the byte that follows it.
            ends: Some(kept().map(|at| self.starts[at + 1]).collect()),
        })
    }

    fn copy(&mut self, text: &[u8], range: Range<usize>, start_of: impl Fn(usize) -> u32) {
        self.text.extend_from_slice(&text[range.clone()]);
        self.starts.extend(range.map(start_of));
    }
}

impl Escape {
    const ALL: [Self; 2] = [Self::Json, Self::Percent];

    const fn sign(self) -> u8 {
        match self {
            Self::Json => b'\\',
            Self::Percent => b'%',
        }
    }

    /// Reads the unit at the start of `text`, which starts with the escape sign. Line breaks and
    /// non-ASCII characters do not occur in our secrets, so they are not decoded.
    fn unit(self, text: &[u8]) -> Unit {
        let (bytes, decoded) = match (self, text) {
            (Self::Percent, _) => match hex(text, 1..3) {
                Some(code) => (3, graphic(code)),
                None => (1, None),
            },
            (Self::Json, [_, b'u', ..]) => match hex(text, 2..6) {
                Some(code) => (6, graphic(code)),
                None => (2, None),
            },
            (Self::Json, [_, byte @ (b'\\' | b'/' | b'"'), ..]) => (2, Some(*byte)),
            (Self::Json, [_, b'b' | b'f' | b'n' | b'r' | b't', ..]) => (2, None),
            (Self::Json, _) => (1, None),
        };
        Unit { bytes, decoded }
    }
}

/// Returns the end of `place`, or of the JSON escape that `place` ends in. Goes no further than the
/// end of the JSON string that `place` starts in. `place` must not start inside an escape.
pub fn end_of_escape(body: &[u8], place: &Range<usize>) -> usize {
    let mut at = place.start;
    while at < place.end {
        at += match body[at] {
            b'\\' => Escape::Json.unit(&body[at..]).bytes,
            b'"' => return at,
            _ => 1,
        };
    }
    at.min(body.len())
}

fn hex(text: &[u8], range: Range<usize>) -> Option<u32> {
    let digits = std::str::from_utf8(text.get(range)?).ok()?;
    let is_hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    is_hex.then(|| u32::from_str_radix(digits, 16).ok())?
}

fn graphic(code: u32) -> Option<u8> {
    u8::try_from(code).ok().filter(u8::is_ascii_graphic)
}

/// Passes every text that can be decoded from `text` to `search`.
pub fn each_level(text: &[u8], search: &mut impl FnMut(&Level)) {
    // Such a long text does not fit the `u32` positions. No body is that long.
    if u32::try_from(text.len()).is_err() {
        return;
    }
    let place = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
    let mut walk = Walk {
        search,
        hasher: RandomState::new(),
        seen: HashSet::new(),
        bytes_left: BYTES_MAX,
    };
    for escape in Escape::ALL {
        let level = Level::decoded(escape, text, place);
        walk.visit(level, Left::ALL.without(escape));
    }
}

struct Walk<'a, S> {
    search: &'a mut S,
    hasher: RandomState,
    /// The hashes of the texts that were searched, each with the levels that were left. The same
    /// text may be reached again with more levels left.
    seen: HashSet<(u64, Left)>,
    bytes_left: usize,
}

/// The number of levels that may still be decoded.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Left {
    json: u32,
    percent: u32,
}

impl Left {
    const ALL: Self = Self {
        json: JSON_LEVELS_MAX,
        percent: PERCENT_LEVELS_MAX,
    };

    const fn without(self, escape: Escape) -> Self {
        match escape {
            Escape::Json => Self {
                json: self.json - 1,
                ..self
            },
            Escape::Percent => Self {
                percent: self.percent - 1,
                ..self
            },
        }
    }

    const fn has(self, escape: Escape) -> bool {
        match escape {
            Escape::Json => self.json > 0,
            Escape::Percent => self.percent > 0,
        }
    }
}

impl<S: FnMut(&Level)> Walk<'_, S> {
    fn visit(&mut self, level: Option<Level>, left: Left) {
        let Some(level) = level else { return };
        let is_new = self.seen.insert((self.hasher.hash_one(&level.text), left));
        if !is_new || level.text.len() > self.bytes_left {
            return;
        }
        self.bytes_left -= level.text.len();
        (self.search)(&level);
        if let Some(level) = level.without_backslashes() {
            (self.search)(&level);
        }
        for escape in Escape::ALL.into_iter().filter(|escape| left.has(*escape)) {
            let next = Level::decoded(escape, &level.text, |at| level.starts[at]);
            self.visit(next, left.without(escape));
        }
    }
}

/// Whether `text` has an escape that stands for a byte that `is_wanted` accepts, or for a part of
/// another escape.
pub fn has_escaped(text: &[u8], is_wanted: impl Fn(u8) -> bool) -> bool {
    Escape::ALL.into_iter().any(|escape| {
        let mut at = 0;
        while let Some(found) = memchr(escape.sign(), &text[at..]) {
            let unit = escape.unit(&text[at + found..]);
            if let Some(byte) = unit.decoded
                && (matches!(byte, b'\\' | b'%') || is_wanted(byte))
            {
                return true;
            }
            at += found + unit.bytes;
        }
        false
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn levels(text: &str) -> Vec<String> {
        let mut levels = Vec::new();
        each_level(text.as_bytes(), &mut |level| {
            levels.push(String::from_utf8(level.text().to_vec()).unwrap());
        });
        levels
    }

    #[test]
    fn every_order_of_decoding_is_tried() {
        assert!(levels("plain").is_empty());
        assert_eq!(levels(r"a\/b\u002fc"), ["a/b/c"]);
        assert_eq!(levels(r"\\u0041"), [r"\u0041", "u0041", "A"]);
        for (text, inner) in [
            (r"\u005cu0041%252E", "A."),
            (r"%5C\u0041", "A"),
            (r"\%5Cu0041", r"\u0041"),
            (r"\\%255Cu0075\u%2530030\u003030", r"\u0030"),
        ] {
            assert!(
                levels(text).iter().any(|level| level == inner),
                "{:?}",
                levels(text)
            );
        }
        let odd = r"\n\u4e2d\x%zz%e4\";
        assert!(levels(odd).is_empty(), "{:?}", levels(odd));
    }

    #[test]
    fn a_place_is_that_of_whole_escapes_in_the_original() {
        let text = r"ab\u0043%2544e";
        let mut places = Vec::new();
        each_level(text.as_bytes(), &mut |level| {
            let found = memchr::memmem::find(level.text(), b"CD");
            places.extend(found.map(|at| level.place(at..at + 2)));
        });
        places.dedup();
        assert_eq!(places.len(), 1);
        assert_eq!(places[0], 2..13);
        assert_eq!(&text[places[0].clone()], r"\u0043%2544");
    }

    #[test]
    fn an_escape_counts_if_it_stands_for_what_is_wanted_or_for_another_escape() {
        let wanted = |text: &str| has_escaped(text.as_bytes(), |byte| byte == b'A');
        assert!(wanted(r"\u0041") && wanted("%41") && wanted(r"\\n") && wanted("%25"));
        assert!(!wanted(r"\u0042\/\n\u4e2d%2F%") && !wanted("A") && !wanted(""));
    }

    #[test]
    fn what_is_made_of_one_body_is_bounded() {
        let text = r"\\%255C%5C\u005c%25".repeat(10_000);
        let mut bytes = 0;
        each_level(text.as_bytes(), &mut |level| bytes += level.text().len());
        assert!(bytes <= 2 * BYTES_MAX, "{bytes}");
    }
}
