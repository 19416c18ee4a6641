//! A hash that is the same for two bodies that are equal as JSON values.

use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::tree::Tree;
use crate::domain::json::DEPTH_MAX;
use crate::domain::kind::Kind;

/// The SHA-256 of a request. Shows whether an `Idempotency-Key` was sent again with the same body
/// (rule B10 in `docs/rules.md`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The same body on another route is another request.
    pub(super) fn of(kind: Kind, request: &RawValue) -> Self {
        let mut hasher = Sha256::new();
        match kind {
            Kind::Image => {}
            Kind::Video | Kind::Audio => hasher.update(kind.into_str()),
        }
        // No name occurs twice: `Generation::parse` refuses that.
        let tree = Tree::parse(request.get(), DEPTH_MAX + 1);
        hash_value(
            &tree.expect("well-formed JSON, as it was read before"),
            &mut hasher,
        );
        Self(hasher.finalize().into())
    }

    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    pub const fn to_bytes(self) -> [u8; 32] {
        self.0
    }
}

/// Feeds `value` to `hasher` in a canonical spelling. `json::DEPTH_MAX` bounds the recursion.
fn hash_value(value: &Tree<'_>, hasher: &mut Sha256) {
    match value {
        Tree::Object(members) => {
            hasher.update(b"{");
            for (key, member) in members {
                hash_string(key, hasher);
                hash_value(member, hasher);
            }
            hasher.update(b"}");
        }
        Tree::List(elements) => {
            hasher.update(b"[");
            for element in elements {
                hash_value(element, hasher);
            }
            hasher.update(b"]");
        }
        Tree::String(text) => hash_string(text, hasher),
        Tree::Other(text) => {
            hasher.update(text.as_bytes());
            hasher.update(b",");
        }
    }
}

/// Hashes the length first, so that different lists of strings never produce the same input.
fn hash_string(text: &str, hasher: &mut Sha256) {
    hasher.update(b"\"");
    hasher.update(text.len().to_be_bytes());
    hasher.update(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use crate::domain::generation::Generation;
    use crate::domain::kind::Kind;

    #[test]
    fn bodies_are_compared_as_values() {
        let print = |text: &str| {
            Generation::parse(Kind::Image, text.as_bytes(), true)
                .unwrap()
                .fingerprint()
        };
        let first = r#"{"model":"z-image-turbo","prompt":"aé","seed":7,"x":{"a":1,"b":["c","d"]}}"#;
        let same = [
            "{ \"x\": {\"b\":[\"c\" , \"d\"],\"a\":1},\n\"seed\":7,\"prompt\":\"a\\u00e9\",\"model\":\"z-image-turbo\" }",
            r#"{"model":"z-image-turbo","prompt":"aé","seed":7,"size":null,"x":{"a":1,"b":["c","d"]}}"#,
        ];
        for text in same {
            assert_eq!(print(text), print(first), "{text}");
        }
        let other = [
            r#"{"model":"z-image-turbo","prompt":"ae","seed":7,"x":{"a":1,"b":["c","d"]}}"#,
            r#"{"model":"z-image-turbo","prompt":"aé","x":{"a":1,"b":["c","d"]}}"#,
            r#"{"model":"z-image-turbo","prompt":"aé","seed":7,"x":{"a":1,"b":["d","c"]}}"#,
            r#"{"model":"z-image-turbo","prompt":"aé","seed":7,"x":{"a":"1","b":["c","d"]}}"#,
            r#"{"model":"z-image-turbo","prompt":"aé","seed":7,"x":{"a":1,"b":["cd"]}}"#,
            r#"{"model":"z-image-turbo","prompt":"aé","seed":7,"x":{"a":1,"b":[["c"],"d"]}}"#,
            r#"{"model":"z-image-turbo","prompt":"aé","seed":7,"callback_url":"https://h/","x":{"a":1,"b":["c","d"]}}"#,
            r#"{"model":"z-image-turbo","prompt":"aé","seed":7,"nsfw_check":false,"x":{"a":1,"b":["c","d"]}}"#,
        ];
        for text in other {
            assert_ne!(print(text), print(first), "{text}");
        }
    }

    #[test]
    fn the_deepest_body_that_is_read_has_a_fingerprint() {
        let nested = |depth: usize| {
            let (open, close) = (r#"[{"k":"#.repeat(depth), "}]".repeat(depth));
            format!(r#"{{"model":"z-image-turbo","prompt":"p","x":{open}1{close}}}"#)
        };
        let deepest = Generation::parse(Kind::Image, nested(49).as_bytes(), true).unwrap();
        let other = Generation::parse(Kind::Image, nested(48).as_bytes(), true).unwrap();
        assert_ne!(deepest.fingerprint(), other.fingerprint());
    }
}
