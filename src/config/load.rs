//! Loads a `Config` from the file and the environment, or fails with one line that names the key.
//!
//! An environment variable is a single text. Where the key needs a number or a boolean, it is parsed
//! from that text; a list is JSON. Nothing guesses types: a secret of digits only must stay text.

use std::path::Path;

use config::ConfigError as Cause;
use serde_path_to_error::Error;

use super::closest::closest;
use super::sources::Sources;
use super::{Config, ConfigError, OutcomeEvent, Scope};

/// Faults that are reported for one configuration. More are unreadable.
const FAULTS_MAX: usize = 100;

/// Something in the file or the environment that cannot be read.
#[derive(Debug)]
pub struct Fault {
    pub error: ConfigError,
    /// The key is unknown. Everything else was read without it, so the rest of the configuration
    /// is as it was meant.
    pub is_unknown_key: bool,
}

impl Config {
    /// Reads the file (without one: the defaults), then lets `EVOLINK_RECEIVER__SECTION__KEY`
    /// override it. `EVOLINK_API_KEY` is used only if neither the file nor the environment sets
    /// `evolink.api_key` or `evolink.api_key_file`. An empty variable counts as absent.
    /// [`Config::validate`] checks the relations between keys.
    ///
    /// # Errors
    /// One line: the file cannot be read or is not TOML, a key is unknown or missing, or a value
    /// has the wrong form.
    pub fn load(
        path: Option<&Path>,
        env: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let mut sources = Sources::read(path, env)?;
        if let Some(error) = sources.take_faults().into_iter().next() {
            return Err(error);
        }
        sources
            .parse()
            .map_err(|error| fault(&sources, *error).error)
    }

    /// Does the same, but goes on after a fault without the key that caused it, to find them all.
    /// Returns the configuration without these keys; `None` if the file cannot be read at all.
    pub fn load_all(
        path: Option<&Path>,
        env: impl Iterator<Item = (String, String)>,
    ) -> (Option<Self>, Vec<Fault>) {
        let mut sources = match Sources::read(path, env) {
            Ok(sources) => sources,
            Err(error) => {
                let is_unknown_key = false;
                return (
                    None,
                    vec![Fault {
                        error,
                        is_unknown_key,
                    }],
                );
            }
        };
        let unread = sources.take_faults().into_iter();
        let mut faults: Vec<Fault> = unread
            .map(|error| Fault {
                error,
                is_unknown_key: false,
            })
            .collect();
        loop {
            let error = match sources.parse() {
                Ok(config) => return (Some(config), faults),
                Err(error) => error,
            };
            let path = error.path().clone();
            let fault = fault(&sources, *error);
            let is_unknown_key = fault.is_unknown_key;
            faults.push(fault);
            if faults.len() >= FAULTS_MAX || !sources.remove(&path, is_unknown_key) {
                return (None, faults);
            }
        }
    }
}

fn fault(sources: &Sources, error: Error<Cause>) -> Fault {
    let path = sources.original(error.path());
    let error = naming_the_key(path, error.into_inner());
    let is_unknown_key = error.message.starts_with(UNKNOWN_KEY);
    Fault {
        error,
        is_unknown_key,
    }
}

const UNKNOWN_KEY: &str = "unknown key";

fn naming_the_key(path: String, cause: Cause) -> ConfigError {
    let key = match path {
        // The variable `EVOLINK_RECEIVER__` produces an empty key.
        empty if empty.is_empty() => "(empty name)".into(),
        key => key,
    };
    match innermost(cause) {
        Cause::NotFound(missing) => {
            // The library prefixes the field with its own form of the path, so only the field's
            // name is used.
            let field = missing.rsplit(['.', ']']).next().unwrap_or(&missing);
            let key = match key.rsplit('.').next() {
                Some(last) if last == field => key,
                _ => format!("{key}.{field}"),
            };
            let message = match field {
                "events" => format!("missing: name at least one of {}", OutcomeEvent::known()),
                "scopes" => format!("missing: name at least one of {}", Scope::known()),
                _ => "missing".to_owned(),
            };
            ConfigError::new(key, message)
        }
        Cause::Type {
            unexpected,
            expected,
            ..
        } => ConfigError::new(key, wrong_type(&unexpected.to_string(), expected)),
        other => {
            let message = other.to_string();
            if message.starts_with("unknown field ") {
                return ConfigError::new(key, unknown_key(&message));
            }
            let of_type = message.strip_prefix("invalid type: ");
            let message = match of_type.and_then(|text| text.rsplit_once(", expected ")) {
                Some((unexpected, expected)) => wrong_type(unexpected, expected),
                None => message,
            };
            ConfigError::new(key, message)
        }
    }
}

/// Suggests the key that is meant, from the names that the library lists between backticks: first
/// the one that was found.
fn unknown_key(message: &str) -> String {
    let mut names = message.split('`').skip(1).step_by(2);
    let found = names.next().unwrap_or_default();
    match closest(found, names) {
        Some(meant) => format!("{UNKNOWN_KEY}; did you mean {meant}?"),
        None => UNKNOWN_KEY.to_owned(),
    }
}

/// Describes a wrong type in TOML's words. Leaves out the text that was found, because it may be a
/// secret in the wrong place.
fn wrong_type(unexpected: &str, expected: &str) -> String {
    let found = match unexpected.split(' ').next() {
        Some("string") => "a string",
        Some("boolean") => "a boolean",
        Some("sequence") => "a list",
        Some("map") => "a table",
        // All others are numbers, which stand between backticks.
        _ => unexpected.split('`').nth(1).unwrap_or(unexpected),
    };
    let expected = match expected {
        "a sequence" => "a list",
        structure if structure.starts_with("struct ") => "a table",
        integer if integer.ends_with("integer") => "a whole number from 0 on",
        "floating point" | "a floating point" => "a number",
        other => other,
    };
    format!("must be {expected}, is {found}")
}

/// Removes the layers that repeat the key.
fn innermost(error: Cause) -> Cause {
    match error {
        Cause::At { error, .. } => innermost(*error),
        other => other,
    }
}
