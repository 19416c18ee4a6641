//! The configuration: which errors are reported and with which line, which source overrides which,
//! and that the example file is correct.

mod example;
mod forward;
mod loaded;
mod refused;
mod reload;
mod reload_forward;

use evolink_receiver::config::Config;
use serde_json::Value;

const EXAMPLE: &str = include_str!("../../../config.example.toml");
const SHA256: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

/// The smallest configuration that a service starts with.
const MINIMAL: [(&str, &str); 2] = [("public.tls.mode", "off"), ("evolink.api_key", "sk-secret")];

fn env_name(key: &str) -> String {
    format!(
        "EVOLINK_RECEIVER__{}",
        key.replace('.', "__").to_uppercase()
    )
}

fn load_env(pairs: &[(&str, &str)]) -> Result<Config, String> {
    let pairs = pairs
        .iter()
        .map(|(key, value)| (env_name(key), (*value).to_owned()));
    Config::load(None, pairs).map_err(|error| error.to_string())
}

fn load_toml_env(toml: &str, env: &[(&str, &str)]) -> Result<Config, String> {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("receiver.toml");
    std::fs::write(&path, toml).expect("a file");
    let env = env
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let loaded = Config::load(Some(&path), env);
    let dir_text = format!("{}/", dir.path().display());
    loaded.map_err(|error| error.to_string().replace(&dir_text, ""))
}

fn load_toml(toml: &str) -> Result<Config, String> {
    load_toml_env(toml, &[])
}

fn as_json(config: &Config) -> Value {
    serde_json::to_value(config).expect("a configuration is JSON")
}

fn validated(config: &Config) -> String {
    config
        .validate()
        .map_or_else(|error| error.to_string(), |()| "ok".into())
}

/// The minimal configuration with one value changed.
fn minimal_but(key: &str, value: &str) -> Config {
    let mut pairs = MINIMAL.to_vec();
    pairs.retain(|(other, _)| *other != key);
    pairs.push((key, value));
    load_env(&pairs).expect(key)
}

/// The rows of a text table, `input => line`.
fn table(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let rows = text.lines().filter(|row| !row.starts_with('#'));
    rows.map(|row| row.split_once(" => ").expect(row))
}
