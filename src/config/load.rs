//! Loads a `Config` from the file and the environment, or fails with one line that names the key.
//!
//! Lists are possible in TOML only, because an environment variable is a single text. Where the key
//! needs a number or a boolean, it is parsed from that text. Nothing guesses types: a secret of
//! digits only must stay text.

use std::collections::HashMap;
use std::path::Path;

use config::{ConfigError as Cause, Environment, File, FileFormat};

use super::{Config, ConfigError};

const PREFIX: &str = "EVOLINK_RECEIVER";
const SEPARATOR: &str = "__";
/// The environment variable from which other tools for EvoLink read the key, too.
const EVOLINK_API_KEY: &str = "EVOLINK_API_KEY";

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
        let env: HashMap<String, String> = env.collect();
        let evolink_api_key = env.get(EVOLINK_API_KEY).cloned();
        // An empty `EVOLINK_RECEIVER_CONFIG=` names no file.
        let path = path.filter(|path| !path.as_os_str().is_empty());
        let mut sources = config::Config::builder();
        if let Some(path) = path {
            sources = sources.add_source(File::from_str(&read(path)?, FileFormat::Toml));
        }
        let merged = sources
            .add_source(overrides(env))
            .build()
            .map_err(|cause| not_parsed(path, &cause))?;
        let mut config: Self = serde_path_to_error::deserialize(merged).map_err(naming_the_key)?;
        let evolink = &mut config.evolink;
        if evolink.api_key.is_none() && evolink.api_key_file.is_none() {
            evolink.api_key = evolink_api_key
                .filter(|key| !key.is_empty())
                .map(Into::into);
        }
        Ok(config)
    }
}

fn read(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|error| {
        ConfigError::new(
            path.display().to_string(),
            format!("could not read: {error}"),
        )
    })
}

fn overrides(env: HashMap<String, String>) -> Environment {
    Environment::with_prefix(PREFIX)
        .prefix_separator(SEPARATOR)
        .separator(SEPARATOR)
        .ignore_empty(true)
        .source(Some(env.into_iter().collect()))
}

/// Reports a syntax error. The TOML parser quotes the wrong line, which may contain a secret, so
/// this keeps only the position and the reason.
fn not_parsed(path: Option<&Path>, cause: &Cause) -> ConfigError {
    let key = path.map_or_else(|| "environment".into(), |path| path.display().to_string());
    let text = match cause {
        Cause::FileParse { cause, .. } => cause.to_string(),
        other => other.to_string(),
    };
    let is_quote = |line: &str| {
        let margin = line.trim_start_matches(|c: char| c == ' ' || c.is_ascii_digit());
        margin.starts_with('|')
    };
    let kept = text
        .lines()
        .filter(|line| !line.is_empty() && !is_quote(line));
    ConfigError::new(key, kept.collect::<Vec<_>>().join(": "))
}

fn naming_the_key(error: serde_path_to_error::Error<Cause>) -> ConfigError {
    let key = match error.path().to_string() {
        // The variable `EVOLINK_RECEIVER__` produces an empty key.
        empty if empty.is_empty() => "(empty name)".into(),
        key => key,
    };
    match innermost(error.into_inner()) {
        Cause::NotFound(missing) => {
            // The library prefixes the field with its own form of the path, so only the field's
            // name is used.
            let field = missing.rsplit(['.', ']']).next().unwrap_or(&missing);
            let key = match key.rsplit('.').next() {
                Some(last) if last == field => key,
                _ => format!("{key}.{field}"),
            };
            ConfigError::new(key, "missing")
        }
        Cause::Type {
            unexpected,
            expected,
            ..
        } => ConfigError::new(key, wrong_type(&unexpected.to_string(), expected)),
        other => {
            let message = other.to_string();
            if message.starts_with("unknown field ") {
                return ConfigError::new(key, "unknown key");
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
