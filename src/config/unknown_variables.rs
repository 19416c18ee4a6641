//! Finds environment variables that look like settings and are none, such as one with a single
//! underscore in place of two. They have no effect.

use serde_json::Value;

use super::closest::closest;
use super::{Config, Finding, Level};

const START: &str = "EVOLINK_RECEIVER_";

/// What follows `START` in the variables of commands and of the build.
const OTHERS: [&str; 5] = ["CONFIG", "URL", "API_KEY", "API_KEY_FILE", "COMMIT"];

/// The start of the variables of tests, after `START`.
const TESTS: &str = "TEST_";

/// Returns a warning for each variable that begins as ours do and is none of ours. A variable that
/// is set to nothing counts as absent.
pub fn unknown_variables(env: impl Iterator<Item = (String, String)>) -> Vec<Finding> {
    let set = env.filter(|(_, value)| !value.is_empty());
    let mut names: Vec<String> = set
        .map(|(name, _)| name)
        .filter(|name| is_unknown(name))
        .collect();
    names.sort();
    let settings = settings();
    let warnings = names.iter().map(|name| {
        let advice = match meant(name, &settings) {
            Some(setting) => format!("did you mean {START}_{setting}?"),
            None => format!("settings begin with {START}_"),
        };
        Finding {
            level: Level::Warning,
            key: "environment".to_owned(),
            message: format!("environment variable {name} is not a setting; {advice}"),
        }
    });
    warnings.collect()
}

fn is_unknown(name: &str) -> bool {
    name.strip_prefix(START).is_some_and(|rest| {
        // With two underscores it is a setting, or an unknown key, which is an error.
        !rest.starts_with('_')
            && !OTHERS.contains(&rest)
            && !rest.starts_with(TESTS)
            && !is_of_kubernetes(rest)
    })
}

/// Returns whether Kubernetes sets this variable in each container for a service whose name begins
/// with `evolink-receiver`: `…_SERVICE_HOST`, `…_SERVICE_PORT`, `…_SERVICE_PORT_HTTP`, `…_PORT`,
/// `…_PORT_8080_TCP`, `…_PORT_8080_TCP_ADDR`.
fn is_of_kubernetes(rest: &str) -> bool {
    let rest = format!("_{rest}");
    let is_of_port = rest.split("_PORT_").skip(1).any(|after| {
        after.starts_with(|first: char| first.is_ascii_digit())
            && ["_TCP", "_UDP", "_SCTP"]
                .iter()
                .any(|protocol| after.contains(protocol))
    });
    rest.ends_with("_SERVICE_HOST")
        || rest.ends_with("_PORT")
        || rest.contains("_SERVICE_PORT_")
        || is_of_port
}

/// Returns the setting that `name` may stand for, by its words without the underscores.
fn meant<'a>(name: &str, settings: &'a [String]) -> Option<&'a str> {
    let joined = |text: &str| text.replace('_', "").to_ascii_lowercase();
    let known: Vec<String> = settings.iter().map(|setting| joined(setting)).collect();
    let close = closest(
        &joined(&name[START.len()..]),
        known.iter().map(String::as_str),
    )?;
    let at = known.iter().position(|known| known == close)?;
    settings.get(at).map(String::as_str)
}

/// Lists all keys that a variable can set, in the form `SECTION__KEY`.
fn settings() -> Vec<String> {
    let mut settings = Vec::new();
    if let Ok(config) = serde_json::to_value(Config::default()) {
        add(&mut settings, "", &config);
    }
    settings
}

fn add(settings: &mut Vec<String>, path: &str, value: &Value) {
    match value {
        Value::Object(members) => {
            for (key, value) in members {
                let separator = if path.is_empty() { "" } else { "__" };
                let key = key.to_ascii_uppercase();
                add(settings, &format!("{path}{separator}{key}"), value);
            }
        }
        _ => settings.push(path.to_owned()),
    }
}
