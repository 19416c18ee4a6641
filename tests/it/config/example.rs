//! The example file is correct: it lists every key with its default and a sentence.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use evolink_receiver::config::Config;
use serde_json::Value;

use super::{EXAMPLE, as_json, load_toml, table};

#[test]
fn example_file_is_the_default() {
    let example = load_toml(EXAMPLE).expect("the example parses");
    assert_eq!(as_json(&example), as_json(&Config::default()));
    // The reverse: a default that is missing in the file would pass the assertion above.
    let default = as_json(&Config::default());
    let raw: ::config::Config = ::config::Config::builder()
        .add_source(::config::File::from_str(
            EXAMPLE,
            ::config::FileFormat::Toml,
        ))
        .build()
        .expect("the example is TOML");
    let raw: Value = raw.try_deserialize().expect("TOML is JSON here");
    let (mut listed, mut expected) = (BTreeSet::new(), BTreeSet::new());
    keys(&raw, "", &mut listed);
    keys(&default, "", &mut expected);
    for key in [
        "public.idle_timeout",
        "public.tls.cert_file",
        "public.tls.key_file",
        "internal.base_url",
        "internal.tls.cert_file",
        "internal.tls.key_file",
        "evolink.api_key",
        "evolink.api_key_file",
        "store.password_file",
        "internal.api_keys",
        "forward.endpoints",
        "retention.export_to",
    ] {
        assert!(
            expected.remove(key),
            "{key} has no default, so it is a comment"
        );
    }
    assert_eq!(listed, expected);
}

#[test]
fn example_file_lists_every_optional_key() {
    let full = load_toml(&example_with_optional_keys()).expect("the optional keys parse");
    // A key that is missing in the file would be null, or an empty list.
    let json = as_json(&full);
    assert!(!json.to_string().contains("null"), "{json}");
    assert_eq!(
        json["internal"]["api_keys"].as_array().map(Vec::len),
        Some(1)
    );
    assert_eq!(
        json["forward"]["endpoints"].as_array().map(Vec::len),
        Some(1)
    );
}

#[test]
fn every_key_of_the_example_has_a_sentence() {
    let mut above = "";
    for line in EXAMPLE.lines() {
        let bare = line.strip_prefix('#').unwrap_or(line);
        let is_key = bare.starts_with(|c: char| c.is_ascii_lowercase()) && bare.contains(" = ");
        if is_key {
            assert!(above.starts_with("# ") && above.ends_with('.'), "{line}");
        }
        above = line;
    }
}

#[test]
fn every_key_has_a_wrong_value_among_the_tests() {
    let full = load_toml(&example_with_optional_keys()).expect("the optional keys parse");
    let mut expected = BTreeSet::new();
    keys(&as_json(&full), "", &mut expected);
    let refused: BTreeSet<String> = table(include_str!("values.txt"))
        .map(|(_, line)| line.split(": ").next().expect("a key").replace("[0]", ""))
        .collect();
    let untested: Vec<_> = expected.difference(&refused).collect();
    assert!(untested.is_empty(), "{untested:?}");
}

/// The `key = value` lines of the example, with the `#` of its optional keys removed.
fn example_with_optional_keys() -> String {
    let is_optional = |line: &str| {
        let starts_key = line.starts_with(|c: char| c.is_ascii_lowercase()) && line.contains(" = ");
        starts_key || line.starts_with("[[")
    };
    EXAMPLE.lines().fold(String::new(), |mut text, line| {
        let optional = line.strip_prefix('#').filter(|rest| is_optional(rest));
        writeln!(text, "{}", optional.unwrap_or(line)).expect("a String takes all");
        text
    })
}

/// Every key of a configuration, dotted. Keys of list entries have no index.
fn keys(value: &Value, prefix: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                let dot = if prefix.is_empty() { "" } else { "." };
                keys(field, &format!("{prefix}{dot}{name}"), found);
            }
        }
        Value::Array(entries) if entries.iter().any(Value::is_object) => {
            for entry in entries {
                keys(entry, prefix, found);
            }
        }
        _ => {
            found.insert(prefix.to_owned());
        }
    }
}
