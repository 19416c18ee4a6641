//! Why something failed, as it is stored: short, and without control characters. It may quote what
//! another program sent.

/// The maximum length of a stored reason, in characters.
pub const CHARS_MAX: usize = 200;

/// Shortens `reason` and replaces its control characters.
pub fn bounded(reason: &str) -> String {
    let plain = |character: char| {
        if character.is_control() {
            ' '
        } else {
            character
        }
    };
    reason.chars().take(CHARS_MAX).map(plain).collect()
}
