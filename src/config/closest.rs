//! Suggests the name that a misspelled one may stand for.

use strsim::osa_distance;

/// Typing errors that a suggestion allows. A short name with two would resemble many.
const EDITS_MAX: usize = 2;
const EDITS_MAX_OF_SHORT: usize = 1;

/// The length up to which a name is short.
const SHORT_MAX: usize = 4;

/// Returns the known name that is closest to `name`, if one is close.
pub(super) fn closest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_ascii_lowercase();
    let edits_max = if name.len() <= SHORT_MAX {
        EDITS_MAX_OF_SHORT
    } else {
        EDITS_MAX
    };
    let known = known.into_iter();
    let rated = known.map(|known| (osa_distance(&name, known), known));
    let close = rated.filter(|(edits, _)| *edits <= edits_max);
    close
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::closest;

    #[test]
    fn a_name_with_one_or_two_typing_errors_is_recognised() {
        let known = ["host", "port", "sslmode", "sslrootcert"];
        for (name, expected) in [
            ("sslmod", Some("sslmode")),
            ("SSLMODE", Some("sslmode")),
            ("slsmdoe", Some("sslmode")),
            ("sslrootcrt", Some("sslrootcert")),
            ("prot", Some("port")),
            ("pool", None),
            ("application_name", None),
        ] {
            assert_eq!(closest(name, known), expected, "{name}");
        }
    }
}
