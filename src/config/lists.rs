//! Lists from the environment, as JSON: `EVOLINK_RECEIVER__FORWARD__ALLOWED_HOSTS='["app"]'`.

use std::collections::BTreeMap;

use config::Value;
use serde_json::Value as Json;

use super::variables::variable;
use super::{Config, ConfigError};

/// Takes the variables of keys that are lists out of `env`. Returns the lists with their keys, and
/// an error for each that is none. A variable that is set to nothing counts as absent.
pub(super) fn take(env: &mut BTreeMap<String, String>) -> (Vec<(String, Value)>, Vec<ConfigError>) {
    let (mut lists, mut faults) = (Vec::new(), Vec::new());
    for key in keys() {
        let name = variable(&key);
        let given = env.remove(&name).filter(|text| !text.is_empty());
        match given.map(|text| parse(&text)) {
            None => {}
            Some(Some(list)) => lists.push((key, list)),
            Some(None) => {
                let message = "must be a list in JSON, as in '[\"a\"]' or '[{\"name\": \"a\"}]'";
                faults.push(ConfigError::new(key, message));
            }
        }
    }
    (lists, faults)
}

/// The parser's error is left out, because it may quote a secret.
fn parse(text: &str) -> Option<Value> {
    let list: Vec<Json> = serde_json::from_str(text).ok()?;
    serde_json::from_value(Json::Array(list)).ok()
}

/// The keys that are lists.
pub(super) fn keys() -> Vec<String> {
    let mut keys = Vec::new();
    if let Ok(config) = serde_json::to_value(Config::default()) {
        add(&mut keys, "", &config);
    }
    keys
}

fn add(keys: &mut Vec<String>, path: &str, value: &Json) {
    if let Json::Object(members) = value {
        for (name, value) in members {
            let separator = if path.is_empty() { "" } else { "." };
            add(keys, &format!("{path}{separator}{name}"), value);
        }
    } else if value.is_array() {
        keys.push(path.to_owned());
    }
}
