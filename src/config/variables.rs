//! The names of our environment variables.

pub(super) const PREFIX: &str = "EVOLINK_RECEIVER";
pub(super) const SEPARATOR: &str = "__";

/// The name of the environment variable that sets `key`.
pub(super) fn variable(key: &str) -> String {
    let name = key.replace('.', SEPARATOR).to_ascii_uppercase();
    format!("{PREFIX}{SEPARATOR}{name}")
}
