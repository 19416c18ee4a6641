//! Finds a member that occurs twice in one object of a request. JSON parsers disagree about which
//! of the two counts, so such a request has no single meaning.

use super::tree::{NoTree, Tree};
use crate::domain::json::DEPTH_MAX;

/// Returns the path of the first member that its object has already, such as `x.a`. Positions in
/// lists are not in it. `None` if there is no such member, or if `request` cannot be read.
pub(super) fn member(request: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(request).ok()?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    match Tree::parse(text, DEPTH_MAX + 1) {
        Err(NoTree::Repeated(path)) => Some(path),
        Ok(_) | Err(NoTree::Malformed) => None,
    }
}
