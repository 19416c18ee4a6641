//! Finds a member that occurs twice in one object of a request. JSON parsers disagree about which
//! of the two counts, so such a request has no single meaning.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::domain::json::DEPTH_MAX;

/// Returns the path of the first member that its object has already, such as `x.a`. Positions in
/// lists are not in it. `None` if there is no such member, or if `request` cannot be read.
pub(super) fn member(request: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(request).ok()?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut path = Vec::new();
    is_in(text.trim_ascii_start(), 0, &mut path).then(|| path.join("."))
}

/// Whether there is such a member in the value `text`, whose place is `path`. If so, `path` then
/// leads to the member.
fn is_in<'a>(text: &'a str, depth: usize, path: &mut Vec<Cow<'a, str>>) -> bool {
    if depth >= DEPTH_MAX {
        return false;
    }
    match text.as_bytes().first() {
        Some(b'{') => {
            let Entries(entries) = serde_json::from_str(text).unwrap_or_default();
            let mut names = HashSet::new();
            entries.into_iter().any(|(name, value)| {
                let is_repeated = !names.insert(name.clone());
                path.push(name);
                let is_found = is_repeated || is_in(value.get(), depth + 1, path);
                if !is_found {
                    path.pop();
                }
                is_found
            })
        }
        Some(b'[') => {
            let values: Vec<&RawValue> = serde_json::from_str(text).unwrap_or_default();
            let mut values = values.into_iter();
            values.any(|value| is_in(value.get(), depth + 1, path))
        }
        _ => false,
    }
}

/// All members of an object, also those that occur twice.
#[derive(Default)]
struct Entries<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

/// A name, with its escapes decoded.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> Deserialize<'de> for Entries<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EntriesVisitor)
    }
}

struct EntriesVisitor;

impl<'de> Visitor<'de> for EntriesVisitor {
    type Value = Entries<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::new();
        while let Some((Name(name), value)) = members.next_entry()? {
            entries.push((name, value));
        }
        Ok(Entries(entries))
    }
}
