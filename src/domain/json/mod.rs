//! A strict reader for one JSON object from outside. Values keep their original text.
//!
//! Callbacks, EvoLink's answers and the apps' submits are all read here, by rule B4 in
//! `docs/rules.md`. A body must be UTF-8 and one object with nothing around it. Its escapes must be
//! valid characters, its depth is bounded, and no key that we read may occur twice. Because values
//! stay text, numbers keep their digits and unknown members are passed on unchanged.

pub mod members;

use std::borrow::Cow;
use std::fmt;

use indexmap::IndexMap;
use serde::de::{self, DeserializeOwned, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

/// The deepest nesting that is accepted, including the outer object. Rule B4 accepts 64 and refuses
/// 128.
pub const DEPTH_MAX: usize = 100;

/// Keys that must not be repeated: two readers could disagree about which value counts.
pub(super) const READ_KEYS: [&str; 19] = [
    "id",
    "task_id",
    "status",
    "progress",
    "results",
    "result_urls",
    "result_data",
    "error",
    "data",
    "task_info",
    "usage",
    "type",
    "object",
    "model",
    "prompt",
    "size",
    "seed",
    "nsfw_check",
    "callback_url",
];

pub(super) const REPEATED_KEY: &str = "a key that is read occurs twice";

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Why bytes are not one usable JSON object. The texts are shown to the sender and quote nothing
/// from the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    #[error("the body is not UTF-8")]
    NotUtf8,
    #[error("the body is not one JSON object (line {line}, column {column})")]
    NotAnObject { line: usize, column: usize },
    #[error("the body has a key twice that is read once (line {line}, column {column})")]
    RepeatedKey { line: usize, column: usize },
    #[error("a \\u escape does not make a Unicode character")]
    LoneSurrogate,
    #[error("nested more than {DEPTH_MAX} deep")]
    TooDeep,
}

/// Parses `bytes` by rule B4. `T` selects which members are kept.
pub(super) fn parse_object<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, JsonError> {
    let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    let text = std::str::from_utf8(bytes).map_err(|_| JsonError::NotUtf8)?;
    let object = serde_json::from_str(text).map_err(|error| json_error(&error))?;
    check_depth_and_escapes(text)?;
    Ok(object)
}

/// The members of one JSON object, in their original order.
#[derive(Clone, Debug, Default)]
pub struct Fields(IndexMap<String, Box<RawValue>>);

impl Fields {
    /// Parses a body by rule B4.
    pub fn parse(bytes: &[u8]) -> Result<Self, JsonError> {
        parse_object(bytes)
    }

    /// Returns the object in member `key`, if there is one. EvoLink's body may be wrapped in
    /// `data`.
    pub fn object(&self, key: &str) -> Option<Self> {
        serde_json::from_str(self.0.get(key)?.get()).ok()
    }

    pub fn contains(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// Returns the value of `key` as a `T`, or `None` if it is absent or has another type.
    pub fn read<T: DeserializeOwned>(&self, key: &str) -> Option<T> {
        serde_json::from_str(self.0.get(key)?.get()).ok()
    }

    /// Returns the JSON text of the value of `key`.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(|value| value.get())
    }

    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Sets `key` to `value`. An existing key keeps its position.
    pub fn set(&mut self, key: &str, value: &impl Serialize) {
        let value = serde_json::value::to_raw_value(value).expect("our own types have a JSON form");
        self.0.insert(key.to_owned(), value);
    }

    pub fn remove(&mut self, key: &str) {
        self.0.shift_remove(key);
    }

    /// Removes members so that names and values together have at most `bytes_max` bytes, the
    /// longest first.
    pub fn keep_within(&mut self, bytes_max: usize) {
        let members = self.0.iter();
        let sizes: Vec<usize> = members
            .map(|(key, value)| key.len() + value.get().len())
            .collect();
        let mut longest_first: Vec<usize> = (0..sizes.len()).collect();
        longest_first.sort_by_key(|index| std::cmp::Reverse(sizes[*index]));
        let mut total: usize = sizes.iter().sum();
        let mut is_kept = vec![true; sizes.len()];
        for index in longest_first {
            if total <= bytes_max {
                break;
            }
            is_kept[index] = false;
            total -= sizes[index];
        }
        let mut is_kept = is_kept.into_iter();
        self.0.retain(|_, _| is_kept.next().unwrap_or(true));
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FieldsVisitor)
    }
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Fields, A::Error> {
        let mut fields = IndexMap::new();
        while let Some((key, value)) = members.next_entry::<String, Box<RawValue>>()? {
            if READ_KEYS.contains(&key.as_str()) && fields.contains_key(&key) {
                return Err(de::Error::custom(REPEATED_KEY));
            }
            fields.insert(key, value);
        }
        Ok(Fields(fields))
    }
}

impl Serialize for Fields {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in &self.0 {
            // Two names may become the same. Nobody reads members whose names have U+0000.
            let key = if key.contains('\0') {
                Cow::Owned(key.replace('\0', "\u{fffd}"))
            } else {
                Cow::Borrowed(key.as_str())
            };
            match without_nul(value.get()) {
                Cow::Borrowed(_) => map.serialize_entry(&key, value)?,
                Cow::Owned(text) => {
                    let value = RawValue::from_string(text).map_err(serde::ser::Error::custom)?;
                    map.serialize_entry(&key, &value)?;
                }
            }
        }
        map.end()
    }
}

fn json_error(error: &serde_json::Error) -> JsonError {
    let (line, column) = (error.line(), error.column());
    if error.is_data() && error.to_string().starts_with(REPEATED_KEY) {
        return JsonError::RepeatedKey { line, column };
    }
    JsonError::NotAnObject { line, column }
}

/// Checks what `RawValue` does not check: the depth and the escapes. `text` must be well-formed
/// JSON.
fn check_depth_and_escapes(text: &str) -> Result<(), JsonError> {
    let bytes = text.as_bytes();
    let (mut at, mut depth, mut in_string) = (0, 0_usize, false);
    while let Some(&byte) = bytes.get(at) {
        match (in_string, byte) {
            (_, b'"') => in_string = !in_string,
            (true, b'\\') if bytes.get(at + 1) == Some(&b'u') => {
                let (_, length) = escaped_character(bytes, at).ok_or(JsonError::LoneSurrogate)?;
                at += length;
                continue;
            }
            (true, b'\\') => at += 1,
            (false, b'{' | b'[') => depth += 1,
            (false, b'}' | b']') => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEPTH_MAX {
            return Err(JsonError::TooDeep);
        }
        at += 1;
    }
    Ok(())
}

/// Decodes the `\u` escape at `at`. Returns the character and the length of the escape in bytes, or
/// `None` for a lone surrogate.
fn escaped_character(bytes: &[u8], at: usize) -> Option<(char, usize)> {
    let unit = |at: usize| -> Option<u16> {
        let digits = bytes.get(at..at + 6)?.strip_prefix(b"\\u")?;
        u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    };
    let first = unit(at)?;
    if let Some(character) = char::from_u32(u32::from(first)) {
        return Some((character, 6));
    }
    let pair = char::decode_utf16([first, unit(at + 6)?]).next()?;
    pair.ok().map(|character| (character, 12))
}

/// Returns `text` with U+FFFD in place of every escaped U+0000. NUL is valid in JSON, but many
/// readers fail on it.
fn without_nul(text: &str) -> Cow<'_, str> {
    if !text.contains("\\u0000") {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        shown.push_str(before);
        // An escape has two bytes, both ASCII, or six for `\u`. Only `\u` can produce a NUL.
        let (length, replaced) = if escape.starts_with("\\u0000") {
            (6, "\\ufffd")
        } else {
            (2, &escape[..2])
        };
        shown.push_str(replaced);
        rest = &escape[length..];
    }
    shown.push_str(rest);
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Fields, JsonError> {
        Fields::parse(text.as_bytes())
    }

    #[test]
    fn u_0000_is_replaced_in_names_and_values() {
        let fields = parse(r#"{"a\u0000":"b\u0000","c":{"d\u0000":1}}"#).unwrap();
        let shown = serde_json::to_string(&fields).unwrap();
        let expected = "{\"a\u{fffd}\":\"b\\ufffd\",\"c\":{\"d\\ufffd\":1}}";
        assert_eq!(shown, expected);
    }

    #[test]
    fn the_longest_members_are_left_out_of_what_must_be_short() {
        let kept = |bytes_max| {
            let mut fields = parse(r#"{"a":1,"b":"long","c":[2],"d":"longer"}"#).unwrap();
            fields.keep_within(bytes_max);
            serde_json::to_string(&fields).unwrap()
        };
        assert_eq!(kept(100), r#"{"a":1,"b":"long","c":[2],"d":"longer"}"#);
        assert_eq!(kept(13), r#"{"a":1,"b":"long","c":[2]}"#);
        assert_eq!(kept(6), r#"{"a":1,"c":[2]}"#);
        assert_eq!(kept(0), "{}");
    }

    /// Takes minutes if the work grows with the square of the number of members.
    #[test]
    fn many_members_are_left_out_at_once() {
        let members: Vec<String> = (0..100_000).map(|n| format!("\"{n:05}\":1")).collect();
        let mut fields = parse(&format!("{{{}}}", members.join(","))).unwrap();
        fields.keep_within(32 * 1024);
        assert_eq!(fields.keys().count(), 32 * 1024 / 6);
    }

    #[test]
    fn values_keep_the_text_they_came_in() {
        let text = r#"{"b":1.50,"a":18446744073709551616,"x":1e400,"__proto__":{"k":[1, 2]}}"#;
        assert_eq!(serde_json::to_string(&parse(text).unwrap()).unwrap(), text);
    }

    #[test]
    fn only_one_object_is_an_object() {
        for bad in [
            "",
            " ",
            "null",
            "[]",
            "\"x\"",
            "{} {}",
            "{",
            "{\"a\":1,}",
            "{\"a\":01}",
            "{'a':1}",
            "{\"a\":\"\\x\"}",
        ] {
            assert!(
                matches!(parse(bad), Err(JsonError::NotAnObject { .. })),
                "{bad}"
            );
        }
        assert!(parse(" {\"a\":1}\r\n").is_ok());
        assert!(Fields::parse(b"\xef\xbb\xbf{}").is_ok());
        assert_eq!(
            Fields::parse(b"{\"x\":\"\xff\"}").unwrap_err(),
            JsonError::NotUtf8
        );
    }

    #[test]
    fn a_repeated_key_is_refused_only_if_it_is_read() {
        let repeated = parse(r#"{"id":"a","id":"b"}"#).unwrap_err();
        assert!(matches!(repeated, JsonError::RepeatedKey { .. }));
        assert_eq!(parse(r#"{"x":1,"x":2}"#).unwrap().text("x"), Some("2"));
    }

    #[test]
    fn depth_is_bounded_without_recursion() {
        let nested = |depth: usize| format!("{{\"x\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        assert!(parse(&nested(64)).is_ok());
        for depth in [128, 1000, 100_000] {
            assert_eq!(parse(&nested(depth)).unwrap_err(), JsonError::TooDeep);
        }
        assert!(parse(r#"{"x":"[[[[\"[[[["}"#).is_ok());
    }

    #[test]
    fn escapes_must_make_characters() {
        assert!(parse(r#"{"x":"\ud83d\ude00"}"#).is_ok());
        assert!(parse(r#"{"x":"\\ud83d"}"#).is_ok());
        for bad in [
            r#"{"x":"\ud83d"}"#,
            r#"{"x":"\ude00"}"#,
            r#"{"x":"\ud83d\u0041"}"#,
        ] {
            assert_eq!(parse(bad).unwrap_err(), JsonError::LoneSurrogate, "{bad}");
        }
    }

    #[test]
    fn an_escaped_nul_is_shown_as_a_replacement_character() {
        let fields = parse(r#"{"x":"a\u0000b","y":"a\\u0000b","z":"\\\u0000\n"}"#).unwrap();
        assert_eq!(
            serde_json::to_string(&fields).unwrap(),
            r#"{"x":"a\ufffdb","y":"a\\u0000b","z":"\\\ufffd\n"}"#
        );
    }
}
