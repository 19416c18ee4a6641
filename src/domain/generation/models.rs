//! The models that may be spent on.

use serde::{Deserialize, Serialize};

/// Names of models. `*` stands for any characters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ModelList(Vec<String>);

impl ModelList {
    pub fn new(patterns: Vec<String>) -> Self {
        Self(patterns)
    }

    pub fn patterns(&self) -> &[String] {
        &self.0
    }

    pub fn allows(&self, model: &str) -> bool {
        self.0.iter().any(|pattern| matches(pattern, model))
    }
}

/// Whether `name` has the form of `pattern`. The first and last part must be at its ends, and those
/// between may be taken as early as possible.
fn matches(pattern: &str, name: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else {
        return pattern == name;
    };
    let (middle, last) = rest.rsplit_once('*').unwrap_or(("", rest));
    let Some(name) = name.strip_prefix(first) else {
        return false;
    };
    let Some(mut name) = name.strip_suffix(last) else {
        return false;
    };
    for part in middle.split('*') {
        let Some(at) = name.find(part) else {
            return false;
        };
        name = &name[at + part.len()..];
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_characters() {
        for (pattern, name) in [
            ("*", "z-image-turbo"),
            ("z-image-turbo", "z-image-turbo"),
            ("z-*", "z-image-turbo"),
            ("*-turbo", "z-image-turbo"),
            ("z*image*turbo", "z-image-turbo"),
            ("z-image-turbo*", "z-image-turbo"),
            ("*a*b*a*", "xaxbxax"),
        ] {
            assert!(matches(pattern, name), "{pattern}");
        }
        for (pattern, name) in [
            ("", "a"),
            ("z-image", "z-image-turbo"),
            ("a*a", "a"),
            ("*b*a", "ab"),
            ("z-*-turbo", "z-turbo"),
        ] {
            assert!(!matches(pattern, name), "{pattern}");
        }
    }
}
