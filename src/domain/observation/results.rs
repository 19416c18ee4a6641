//! The results of an observation: its result URLs, and a digest to compare them with those of
//! another observation. `observation` re-exports the digest.

use std::borrow::Cow;
use std::collections::HashSet;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::RESULTS_MAX;
use crate::domain::json::members::{Members, read_text};

/// The bytes of a digest that stand for the URLs, if there are other results.
const HALF: usize = 16;

/// The SHA-256 over the results of an outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResultsDigest([u8; 32]);

impl ResultsDigest {
    /// Hashes the URLs without their query strings; their order makes no difference. If there are
    /// other results, half of the digest is that of the URLs, zero without any, and half is that of
    /// the others.
    pub fn of(results: &[String], more: &MoreResults) -> Self {
        let urls = hash_urls(results);
        let Some(more) = &more.0 else {
            return Self(urls);
        };
        let mut halves = [0; 32];
        let (first, second) = halves.split_at_mut(HALF);
        if !results.is_empty() {
            first.copy_from_slice(&urls[..HALF]);
        }
        second.copy_from_slice(&more[..HALF]);
        Self(halves)
    }

    /// Whether an outcome with these results repeats the one that has this digest. What only one of
    /// the two has makes no difference.
    pub fn is_repeated_by(&self, results: &[String], more: &MoreResults) -> bool {
        let (kept_urls, kept_more) = self.0.split_at(HALF);
        let urls = hash_urls(results);
        let has_same_urls = kept_urls == &urls[..HALF];
        if !results.is_empty() && !has_same_urls {
            return false;
        }
        match &more.0 {
            None => true,
            // Nothing but the URLs was recorded.
            Some(_) if !results.is_empty() && kept_more == &urls[HALF..] => true,
            Some(more) => kept_more == &more[..HALF],
        }
    }

    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The SHA-256 over the values of `result_urls` and `result_data`, which may have any form. `None`
/// if there is nothing in them.
#[derive(Clone, Debug, Default)]
pub struct MoreResults(Option<Box<[u8; 32]>>);

impl MoreResults {
    pub fn of(members: &Members<'_>) -> Self {
        let read = |name| members.read::<Value>(name).filter(is_result);
        let (urls, data) = (read("result_urls"), read("result_data"));
        if urls.is_none() && data.is_none() {
            return Self(None);
        }
        let mut hasher = Sha256::new();
        for value in [urls, data] {
            hasher.update([u8::from(value.is_some())]);
            hash_value(&value.unwrap_or_default(), &mut hasher);
        }
        Self(Some(Box::new(hasher.finalize().into())))
    }

    pub const fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}

/// A list or an object with something in it, or a text.
fn is_result(value: &Value) -> bool {
    match value {
        Value::Array(values) => !values.is_empty(),
        Value::Object(members) => !members.is_empty(),
        Value::String(text) => !text.is_empty(),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Hashes a value so that the order of members and the query strings of URLs make no difference:
/// their signatures change with each answer.
fn hash_value(value: &Value, hasher: &mut Sha256) {
    let hash_text = |text: &str, hasher: &mut Sha256| {
        hasher.update(text.len().to_be_bytes());
        hasher.update(text.as_bytes());
    };
    match value {
        Value::Object(members) => {
            hasher.update(b"{");
            let mut members: Vec<_> = members.iter().collect();
            members.sort_unstable_by_key(|(name, _)| *name);
            for (name, value) in members {
                hash_text(name, hasher);
                hash_value(value, hasher);
            }
            hasher.update(b"}");
        }
        Value::Array(values) => {
            hasher.update(b"[");
            for value in values {
                hash_value(value, hasher);
            }
            hasher.update(b"]");
        }
        Value::String(text) => {
            hasher.update(b"\"");
            let is_url = text.starts_with("https://") || text.starts_with("http://");
            hash_text(if is_url { without_query(text) } else { text }, hasher);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {
            hash_text(&value.to_string(), hasher);
        }
    }
}

fn hash_urls(results: &[String]) -> [u8; 32] {
    let mut urls: Vec<&str> = results.iter().map(|url| without_query(url)).collect();
    urls.sort_unstable();
    let mut hasher = Sha256::new();
    for url in urls {
        hasher.update(url.as_bytes());
        hasher.update([0]);
    }
    hasher.finalize().into()
}

/// Returns the result URLs, and whether they have the documented form: an array of strings, or
/// absent.
pub fn usable_results(members: &Members<'_>) -> (Vec<String>, bool) {
    let (urls, is_documented): (Vec<String>, bool) = match members.text("results") {
        None | Some("null") => (Vec::new(), true),
        Some(one) if one.starts_with('"') => {
            let one = read_text(one).into_iter().map(Cow::into_owned);
            (one.collect(), false)
        }
        Some(many) if many.starts_with('[') => {
            let many: Vec<&RawValue> = serde_json::from_str(many).unwrap_or_default();
            let are_texts = many.iter().all(|result| result.get().starts_with('"'));
            (many.into_iter().filter_map(result_url).collect(), are_texts)
        }
        Some(_) => (Vec::new(), false),
    };
    let urls = urls.into_iter().filter(|url| !url.is_empty());
    (urls.collect(), is_documented)
}

/// Returns the URLs of result files that are not in `results`: the texts of `result_urls`, and the
/// https texts anywhere in `result_data`.
pub fn more_urls(members: &Members<'_>, results: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    if let Some(urls) = members.read::<Value>("result_urls") {
        texts_in(&urls, &mut found);
    }
    if let Some(data) = members.read::<Value>("result_data") {
        let mut texts = Vec::new();
        texts_in(&data, &mut texts);
        found.extend(
            texts
                .into_iter()
                .filter(|text| text.starts_with("https://")),
        );
    }
    let mut known: HashSet<&str> = results.iter().map(String::as_str).collect();
    let mut urls = Vec::new();
    for url in &found {
        if urls.len() == RESULTS_MAX {
            break;
        }
        if !url.is_empty() && known.insert(url) {
            urls.push(url.clone());
        }
    }
    urls
}

/// Adds all texts in `value`, in order. Names of members are not among them.
fn texts_in(value: &Value, texts: &mut Vec<String>) {
    match value {
        Value::String(text) => texts.push(text.clone()),
        Value::Array(values) => values.iter().for_each(|value| texts_in(value, texts)),
        Value::Object(members) => members.values().for_each(|value| texts_in(value, texts)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Returns the URL of one result, which is a string or an object with a `url`.
fn result_url(result: &RawValue) -> Option<String> {
    #[derive(Deserialize)]
    struct ResultObject {
        url: String,
    }
    let text = result.get();
    if text.starts_with('{') {
        let object: ResultObject = serde_json::from_str(text).ok()?;
        return Some(object.url);
    }
    read_text(text).map(Cow::into_owned)
}

/// Returns a URL without its query string and fragment.
pub fn without_query(url: &str) -> &str {
    url.split_once(['?', '#']).map_or(url, |(before, _)| before)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use crate::domain::observation::{Observation, ObservationError};

    fn parse(text: &str) -> Result<Observation, ObservationError> {
        Observation::parse(Bytes::copy_from_slice(text.as_bytes()))
    }

    #[test]
    fn results_are_urls_objects_with_a_url_or_one_string() {
        for results in [
            "\"https://h/a\"",
            "[\"https://h/a\"]",
            "[{\"url\":\"https://h/a\",\"x\":1}]",
        ] {
            let seen = parse(&format!(
                r#"{{"id":"t","status":"completed","results":{results}}}"#
            ))
            .unwrap();
            assert_eq!(seen.results, ["https://h/a"], "{results}");
        }
    }

    #[test]
    fn the_same_results_have_the_same_digest_whatever_their_signature_or_order() {
        let digest = |results: &str| {
            let body = format!(r#"{{"id":"t","status":"completed","results":{results}}}"#);
            parse(&body).unwrap().results_digest()
        };
        assert_eq!(
            digest(r#"["https://h/a?sig=1","https://h/b"]"#),
            digest(r#"["https://h/b#x","https://h/a"]"#)
        );
        assert_ne!(digest(r#"["https://h/a"]"#), digest(r#"["https://h/b"]"#));
        assert_ne!(
            digest(r#"["https://h/a"]"#),
            digest(r#"["https://h/a","https://h/a"]"#)
        );
    }

    #[test]
    fn results_in_other_members_are_results_too() {
        let seen = |members: &str| {
            let body = format!(r#"{{"id":"t","status":"completed"{members}}}"#);
            parse(&body).unwrap()
        };
        for members in [
            r#","result_urls":["https://h/a"]"#,
            r#","result_data":{"element_id":"e"}"#,
            r#","result_data":[{"audio_url":"https://h/a"}]"#,
            r#","results":[],"result_data":{"voice":"v"}"#,
        ] {
            assert!(seen(members).has_results(), "{members}");
        }
        for members in [
            "",
            r#","result_urls":[],"result_data":{}"#,
            r#","result_data":null"#,
            r#","result_data":7"#,
        ] {
            assert!(!seen(members).has_results(), "{members}");
        }
        let digest = |members: &str| seen(members).results_digest();
        assert_eq!(
            digest(r#","result_data":{"a":"https://h/a?s=1","b":[1.5]}"#),
            digest(r#","result_data":{"b":[1.5],"a":"https://h/a?s=2"}"#)
        );
        assert_ne!(
            digest(r#","result_data":{"element_id":"e"}"#),
            digest(r#","result_data":{"element_id":"f"}"#)
        );
        assert_ne!(
            digest(r#","result_urls":["https://h/a"]"#),
            digest(r#","result_data":["https://h/a"]"#)
        );
        let with_data = seen(r#","results":["https://h/a"],"result_data":{"a":1}"#);
        let urls = seen(r#","results":["https://h/a?s=1"]"#);
        let other_data = seen(r#","results":["https://h/a"],"result_data":{"a":2}"#);
        let other_urls = seen(r#","results":["https://h/b"],"result_data":{"a":1}"#);
        let data = seen(r#","result_data":{"a":1}"#);
        let repeats =
            |kept: &Observation, later: &Observation| later.repeats(&kept.results_digest());
        for (kept, later) in [
            (&with_data, &with_data),
            (&with_data, &urls),
            (&urls, &with_data),
            (&with_data, &data),
            (&data, &data),
        ] {
            assert!(repeats(kept, later), "{:?}", (&kept.raw, &later.raw));
        }
        for (kept, later) in [
            (&with_data, &other_data),
            (&with_data, &other_urls),
            (&urls, &other_urls),
            (&data, &urls),
            (&urls, &data),
        ] {
            assert!(!repeats(kept, later), "{:?}", (&kept.raw, &later.raw));
        }
    }
}
