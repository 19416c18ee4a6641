//! Text from outside that people see: log lines, terminals and error messages print it through this
//! module.

use std::fmt::{self, Write as _};

/// Text that another party chose, made safe for a log line or a terminal. Shows at most 256
/// characters. Nothing in it can start a new line, move the cursor, or change the order in which
/// characters appear.
#[derive(Debug, Clone, Copy)]
pub struct Untrusted<'a>(pub &'a str);

const UNTRUSTED_CHARS_MAX: usize = 256;

impl<'a> Untrusted<'a> {
    /// The same with another bound, for text that a person wants to read in full.
    pub fn up_to(text: &'a str, chars_max: usize) -> impl fmt::Display + 'a {
        fmt::from_fn(move |f| write_untrusted(f, text, chars_max))
    }
}

impl fmt::Display for Untrusted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_untrusted(f, self.0, UNTRUSTED_CHARS_MAX)
    }
}

fn write_untrusted(f: &mut fmt::Formatter<'_>, text: &str, chars_max: usize) -> fmt::Result {
    let mut characters = text.chars();
    for character in characters.by_ref().take(chars_max) {
        if is_misleading(character) {
            write!(f, "{}", character.escape_default())?;
        } else {
            f.write_char(character)?;
        }
    }
    if characters.next().is_some() {
        f.write_char('…')?;
    }
    Ok(())
}

/// Controls, line and paragraph separators, and characters that change the direction of text.
fn is_misleading(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn untrusted_text_cannot_forge_a_line() {
        let forged = "a\r\nERROR b\u{1b}[31m\u{202e}c\u{2066}d\u{2028}e\u{9b}f\0";
        let shown = Untrusted(forged).to_string();
        assert_eq!(
            shown,
            r"a\r\nERROR b\u{1b}[31m\u{202e}c\u{2066}d\u{2028}e\u{9b}f\u{0}"
        );
        assert_eq!(Untrusted("grün 🐈 \"x\"").to_string(), "grün 🐈 \"x\"");
    }

    #[test]
    fn untrusted_text_is_cut_at_256_characters() {
        let exact = "ü".repeat(256);
        assert_eq!(Untrusted(&exact).to_string(), exact);
        let longer = format!("{exact}x");
        assert_eq!(Untrusted(&longer).to_string(), format!("{exact}…"));
        assert_eq!(Untrusted::up_to(&longer, 257).to_string(), longer);
        assert_eq!(Untrusted::up_to("a\nb", 2).to_string(), r"a\n…");
    }
}
