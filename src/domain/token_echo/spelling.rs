//! Text with its escapes decoded, level by level: a secret may come back inside of JSON inside of
//! JSON, in a URL in another URL's query, or with single characters written as `\u0041` or `%41`.
//!
//! One level is decoded at a time, and each is handed to the caller, who searches all of them. What
//! is found is named by its place in the original. Where percent-encoding and JSON are mixed, the
//! order in which they were applied is not known, and a backslash may be left over; so each level is
//! searched without its backslashes as well. None of our secrets has one.

use std::ops::Range;

use memchr::memchr2;

/// More levels than three of JSON and three of percent-encoding, in any order.
const LEVELS_MAX: usize = 8;

/// One level of decoding: the text, and where in the original each of its bytes begins.
pub struct Level {
    text: Vec<u8>,
    /// One more than the text has bytes: the last is the end of the original.
    starts: Vec<usize>,
}

/// One escape, or one byte that is none.
struct Unit {
    bytes: usize,
    /// `None` if the unit stays as it is.
    decoded: Option<u8>,
}

impl Level {
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// The place in the original of what is at `range` here.
    pub fn place(&self, range: Range<usize>) -> Range<usize> {
        self.starts[range.start]..self.starts[range.end]
    }

    fn decoded_once(text: &[u8], start_of: impl Fn(usize) -> usize) -> Option<Self> {
        let mut level: Option<Self> = None;
        // Everything before this is in `level`, if there is one.
        let mut copied = 0;
        let mut at = 0;
        while let Some(found) = memchr2(b'\\', b'%', &text[at..]) {
            at += found;
            let unit = unit(&text[at..]);
            let new = unit.decoded.is_some() && level.is_none();
            if new {
                level = Some(Self {
                    text: Vec::with_capacity(text.len()),
                    starts: Vec::with_capacity(text.len() + 1),
                });
            }
            if let Some(level) = &mut level {
                level.copy(text, copied..at, &start_of);
                match unit.decoded {
                    Some(byte) => level.push(byte, start_of(at)),
                    // A unit is whole or not at all: each of its bytes begins where it begins.
                    None => {
                        for byte in &text[at..at + unit.bytes] {
                            level.push(*byte, start_of(at));
                        }
                    }
                }
                copied = at + unit.bytes;
            }
            at += unit.bytes;
        }
        let mut level = level?;
        level.copy(text, copied..text.len(), &start_of);
        level.starts.push(start_of(text.len()));
        Some(level)
    }

    /// The same without backslashes; `None` if there are none.
    fn without_backslashes(&self) -> Option<Self> {
        memchr::memchr(b'\\', &self.text)?;
        let kept = || (0..self.text.len()).filter(|at| self.text[*at] != b'\\');
        Some(Self {
            text: kept().map(|at| self.text[at]).collect(),
            starts: kept()
                .chain([self.text.len()])
                .map(|at| self.starts[at])
                .collect(),
        })
    }

    fn copy(&mut self, text: &[u8], range: Range<usize>, start_of: impl Fn(usize) -> usize) {
        self.text.extend_from_slice(&text[range.clone()]);
        self.starts.extend(range.map(start_of));
    }

    fn push(&mut self, byte: u8, start: usize) {
        self.text.push(byte);
        self.starts.push(start);
    }
}

/// Hands each level of `text` to `search`, beginning with what one step of decoding makes of it,
/// until a step changes nothing.
pub fn each_level(text: &[u8], mut search: impl FnMut(&Level)) {
    let mut next = Level::decoded_once(text, |at| at);
    for _ in 0..LEVELS_MAX {
        let Some(level) = next else { return };
        search(&level);
        if let Some(level) = level.without_backslashes() {
            search(&level);
        }
        next = Level::decoded_once(&level.text, |at| level.starts[at]);
    }
}

/// Whether `text` has an escape that stands for a byte that `is_wanted`, or for a part of another
/// escape.
pub fn has_escaped(text: &[u8], is_wanted: impl Fn(u8) -> bool) -> bool {
    let mut at = 0;
    while let Some(found) = memchr2(b'\\', b'%', &text[at..]) {
        let unit = unit(&text[at + found..]);
        if let Some(byte) = unit.decoded
            && (matches!(byte, b'\\' | b'%') || is_wanted(byte))
        {
            return true;
        }
        at += found + unit.bytes;
    }
    false
}

/// The escape that `text`, which begins with a backslash or a percent sign, begins with.
fn unit(text: &[u8]) -> Unit {
    let hex = |range: Range<usize>| {
        let digits = text.get(range)?;
        let digits = std::str::from_utf8(digits).ok()?;
        let is_hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        is_hex.then(|| u32::from_str_radix(digits, 16).ok())?
    };
    // Line breaks and whatever is not ASCII are in none of our secrets, and stay as they are.
    let graphic = |code: u32| u8::try_from(code).ok().filter(u8::is_ascii_graphic);
    let (bytes, decoded) = match text {
        [b'%', ..] => match hex(1..3) {
            Some(code) => (3, graphic(code)),
            None => (1, None),
        },
        [_, b'u', ..] => match hex(2..6) {
            Some(code) => (6, graphic(code)),
            None => (1, None),
        },
        [_, byte @ (b'\\' | b'/' | b'"'), ..] => (2, Some(*byte)),
        [_, b'b' | b'f' | b'n' | b'r' | b't', ..] => (2, None),
        _ => (1, None),
    };
    Unit { bytes, decoded }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn levels(text: &str) -> Vec<String> {
        let mut levels = Vec::new();
        each_level(text.as_bytes(), |level| {
            levels.push(String::from_utf8(level.text().to_vec()).unwrap());
        });
        levels
    }

    #[test]
    fn each_level_is_decoded_until_nothing_changes() {
        assert!(levels("plain").is_empty());
        assert_eq!(levels(r"a\/b%2Fc\u002fd"), ["a/b/c/d"]);
        assert_eq!(levels(r"\\u0041"), [r"\u0041", "u0041", "A"]);
        let mixed = levels(r"\u005cu0041%252E%5C\u0042");
        assert_eq!(mixed, [r"\u0041%2E\B", "u0041%2EB", r"A.\B", "A.B"]);
        let odd = r"\n\u4e2d\x%zz%e4\";
        assert!(levels(odd).is_empty(), "{:?}", levels(odd));
        let deep = format!("%{}41", "25".repeat(20));
        assert_eq!(levels(&deep).len(), LEVELS_MAX);
    }

    #[test]
    fn a_place_is_that_of_whole_escapes_in_the_original() {
        let text = r"ab\u0043%2544e";
        let mut places = Vec::new();
        each_level(text.as_bytes(), |level| {
            let found = memchr::memmem::find(level.text(), b"CD");
            places.extend(found.map(|at| level.place(at..at + 2)));
        });
        assert_eq!(places, [2..13]);
        assert_eq!(&text[places[0].clone()], r"\u0043%2544");
    }

    #[test]
    fn an_escape_counts_if_it_stands_for_what_is_wanted_or_for_another_escape() {
        let wanted = |text: &str| has_escaped(text.as_bytes(), |byte| byte == b'A');
        assert!(wanted(r"\u0041") && wanted("%41") && wanted(r"\\n") && wanted("%25"));
        assert!(!wanted(r"\u0042\/\n\u4e2d%2F%") && !wanted("A") && !wanted(""));
    }
}
