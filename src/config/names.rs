//! The names that operators give to API keys and endpoints.

/// Checks a name. Names appear in logs, metrics and queries, so they must be short and plain.
///
/// # Errors
/// A text that says what a name may contain.
pub fn check_name(name: &str) -> Result<(), String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if (1..=64).contains(&name.len()) && name.bytes().all(is_plain) {
        Ok(())
    } else {
        Err("must be 1 to 64 letters, digits, '.', '_' or '-'".into())
    }
}
