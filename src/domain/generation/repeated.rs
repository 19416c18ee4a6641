//! Finds a member that occurs twice in one object of a request. JSON parsers disagree about which
//! of the two counts, so such a request has no single meaning.

use std::borrow::Cow;
use std::collections::HashSet;

use serde_json::value::RawValue;

use super::entries::Entries;
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
