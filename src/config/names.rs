//! The names that operators give to API keys and endpoints.

/// Names stand in logs, metrics and queries, so they are short and plain.
///
/// # Errors
/// Says what a name may be.
pub fn check_name(name: &str) -> Result<(), String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if (1..=64).contains(&name.len()) && name.bytes().all(is_plain) {
        Ok(())
    } else {
        Err("must be 1 to 64 letters, digits, '.', '_' or '-'".into())
    }
}
