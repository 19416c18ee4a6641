//! Reads only the members of a JSON object that this program needs, as slices of its text. All
//! other members are checked and skipped.
//!
//! Callbacks are processed with these slices. A map of all members (`json::Fields`) is built only
//! when the task is shown. Both apply the same rules, because `json::parse_object` parses both.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::{JsonError, READ_KEYS, REPEATED_KEY, parse_object};

/// One slot for each of `READ_KEYS`.
#[derive(Default)]
pub struct Members<'a>([Option<&'a RawValue>; READ_KEYS.len()]);

impl<'a> Members<'a> {
    /// Parses a body by rule B4 in `docs/rules.md`.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, JsonError> {
        parse_object(bytes)
    }

    pub fn contains(&self, key: &str) -> bool {
        self.value(key).is_some()
    }

    /// Returns the value of `key` as a `T`, or `None` if it is absent or has another type.
    pub fn read<T: Deserialize<'a>>(&self, key: &str) -> Option<T> {
        serde_json::from_str(self.text(key)?).ok()
    }

    /// Returns the JSON text of the value of `key`.
    pub fn text(&self, key: &str) -> Option<&'a str> {
        self.value(key).map(RawValue::get)
    }

    fn value(&self, key: &str) -> Option<&'a RawValue> {
        self.0[place(key)?]
    }
}

fn place(key: &str) -> Option<usize> {
    READ_KEYS.iter().position(|read| *read == key)
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut members = Members::default();
        while let Some(Place(place)) = entries.next_key()? {
            let Some(place) = place else {
                entries.next_value::<IgnoredAny>()?;
                continue;
            };
            let value = entries.next_value()?;
            if members.0[place].replace(value).is_some() {
                return Err(de::Error::custom(REPEATED_KEY));
            }
        }
        Ok(members)
    }
}

/// Returns the characters of a JSON string, or `None` for any other value. Borrows if the string
/// has no escapes.
pub fn read_text(json: &str) -> Option<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
    serde_json::from_str(json).ok().map(|Text(text)| text)
}

/// The index of a key in `READ_KEYS`, after its escapes are resolved.
struct Place(Option<usize>);

impl<'de> Deserialize<'de> for Place {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(PlaceVisitor)
    }
}

struct PlaceVisitor;

impl Visitor<'_> for PlaceVisitor {
    type Value = Place;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: de::Error>(self, key: &str) -> Result<Place, E> {
        Ok(Place(place(key)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::domain::json::Fields;

    /// Pieces of JSON objects, including malformed ones.
    fn piece() -> impl Strategy<Value = &'static str> {
        prop::sample::select(vec![
            "{",
            "}",
            "[",
            "]",
            ",",
            ":",
            " ",
            "\"id\"",
            "\"status\"",
            "\"x\"",
            "\"\\u0069d\"",
            "\"\\ud83d\"",
            "\"data\"",
            "{\"id\":1}",
            "1e400",
            "-",
            "null",
            "\"id\":\"a\",",
            "\"x\":[{}],",
            "\u{feff}",
            "\u{0}",
        ])
    }

    /// Members that are mostly well-formed.
    fn member() -> impl Strategy<Value = String> {
        let key = prop::sample::select(vec!["id", "\\u0069d", "status", "x", "data", "results"]);
        let value = prop::sample::select(vec![
            "1",
            "\"a\"",
            "{\"id\":2}",
            "[[]]",
            "\"\\ude00\"",
            "1e400",
            "tru",
        ]);
        (key, value).prop_map(|(key, value)| format!("\"{key}\":{value}"))
    }

    fn object() -> impl Strategy<Value = String> {
        prop_oneof![
            vec(piece(), 0..12).prop_map(|pieces| pieces.concat()),
            vec(member(), 0..5).prop_map(|members| format!("{{{}}}", members.join(" , "))),
        ]
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_is_shown(text in object()) {
            let members = Members::parse(text.as_bytes());
            let fields = Fields::parse(text.as_bytes());
            prop_assert_eq!(members.as_ref().err(), fields.as_ref().err());
            if let (Ok(members), Ok(fields)) = (members, fields) {
                for key in READ_KEYS {
                    prop_assert_eq!(members.text(key), fields.text(key));
                }
            }
        }
    }
}
