//! The members of a request, each with its bounds. They are read from the original text of the
//! value, so nothing is converted: `"12"`, `1.0` and `1e3` are not integers.

use url::Url;

use super::InvalidRequest;
use crate::domain::json::Fields;

const MODEL_CHARS_MAX: usize = 128;
const PROMPT_CHARS_MAX: usize = 2000;
const RATIOS: [&str; 9] = [
    "1:1", "2:3", "3:2", "3:4", "4:3", "9:16", "16:9", "1:2", "2:1",
];
const SIDE_PIXELS_MIN: u16 = 376;
const SIDE_PIXELS_MAX: u16 = 1536;
const SEED_MAX: u32 = 2_147_483_647;
const CALLBACK_URL_CHARS_MAX: usize = 2048;

/// The maximum length of a quoted value in an error message, in characters. A prompt must not be
/// repeated in full.
const SHOWN_CHARS_MAX: usize = 64;

/// A prompt of 1 to 2000 characters (Unicode scalar values). Not all of them are white space, and
/// none is NUL.
#[derive(Clone, PartialEq, Eq)]
pub struct Prompt(Box<str>);

impl Prompt {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Prompt {
    /// Shows only the length, because a prompt is personal data.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Prompt({} characters)", self.0.chars().count())
    }
}

/// One of nine ratios, or `WxH` in pixels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Size(Box<str>);

impl Size {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A number from 1 to 2147483647.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed(u32);

impl Seed {
    pub const fn get(self) -> u32 {
        self.0
    }
}

pub(super) fn model(fields: &Fields) -> Result<String, InvalidRequest> {
    let is_name = |text: &String| {
        (1..=MODEL_CHARS_MAX).contains(&text.chars().count()) && !text.contains(char::is_control)
    };
    let given = fields.read::<String>("model");
    given.filter(is_name).ok_or_else(|| {
        let bound = format!("must be a string of 1 to {MODEL_CHARS_MAX} characters");
        refusal(fields, "model", &bound)
    })
}

pub(super) fn prompt(fields: &Fields) -> Result<Prompt, InvalidRequest> {
    let refuse = |bound: &str| refusal(fields, "prompt", bound);
    let Some(prompt) = fields.read::<String>("prompt") else {
        return Err(refuse("must be a string of 1 to 2000 characters"));
    };
    let chars = prompt.chars().count();
    if chars > PROMPT_CHARS_MAX {
        let message = format!(
            "`prompt` must have at most {PROMPT_CHARS_MAX} characters (Unicode scalar values); got {chars}"
        );
        return Err(InvalidRequest {
            param: Some("prompt".to_owned()),
            message,
        });
    }
    if prompt.chars().all(char::is_whitespace) {
        return Err(refuse("must have a character that is not white space"));
    }
    if prompt.contains('\0') {
        return Err(refuse("must not hold the character U+0000"));
    }
    Ok(Prompt(prompt.into()))
}

pub(super) fn size(fields: &Fields) -> Result<Option<Size>, InvalidRequest> {
    if is_absent(fields, "size") {
        return Ok(None);
    }
    let size = fields.read::<String>("size");
    let usable = size.filter(|text| RATIOS.contains(&text.as_str()) || is_pixels(text));
    usable.map(|text| Some(Size(text.into()))).ok_or_else(|| {
        let ratios = RATIOS.join(", ");
        let bound = format!(
            "must be one of {ratios} or WxH with each side {SIDE_PIXELS_MIN} to {SIDE_PIXELS_MAX} pixels"
        );
        refusal(fields, "size", &bound)
    })
}

pub(super) fn seed(fields: &Fields) -> Result<Option<Seed>, InvalidRequest> {
    if is_absent(fields, "seed") {
        return Ok(None);
    }
    let usable = fields
        .text("seed")
        .and_then(decimal::<u32>)
        .filter(|seed| (1..=SEED_MAX).contains(seed));
    usable.map(|seed| Some(Seed(seed))).ok_or_else(|| {
        refusal(
            fields,
            "seed",
            &format!("must be an integer from 1 to {SEED_MAX}"),
        )
    })
}

pub(super) fn nsfw_check(fields: &Fields) -> Result<Option<bool>, InvalidRequest> {
    match fields.text("nsfw_check") {
        None | Some("null") => Ok(None),
        Some("true") => Ok(Some(true)),
        Some("false") => Ok(Some(false)),
        Some(_) => Err(refusal(fields, "nsfw_check", "must be true or false")),
    }
}

pub(super) fn callback_url(fields: &Fields) -> Result<Option<String>, InvalidRequest> {
    if is_absent(fields, "callback_url") {
        return Ok(None);
    }
    let is_web = |url: Url| matches!(url.scheme(), "http" | "https") && url.has_host();
    // Refuse what the URL parser would correct silently, such as spaces and line breaks.
    let is_plain = |text: &String| {
        text.chars().count() <= CALLBACK_URL_CHARS_MAX
            && !text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '\\')
    };
    let usable = fields
        .read::<String>("callback_url")
        .filter(is_plain)
        .filter(|text| Url::parse(text).is_ok_and(is_web));
    usable.map(Some).ok_or_else(|| {
        let bound =
            format!("must be an http or https URL of at most {CALLBACK_URL_CHARS_MAX} characters");
        refusal(fields, "callback_url", &bound)
    })
}

/// Shortens `text` for an error message, and escapes everything that could disturb a log or a
/// terminal.
pub(super) fn escaped(text: &str) -> String {
    let shown: String = text.chars().take(SHOWN_CHARS_MAX).collect();
    let cut = if shown.len() < text.len() { "…" } else { "" };
    format!("{}{cut}", shown.escape_debug())
}

/// Whether a member is absent. `null` counts as absent.
fn is_absent(fields: &Fields, name: &str) -> bool {
    matches!(fields.text(name), None | Some("null"))
}

fn is_pixels(text: &str) -> bool {
    let is_side = |text| {
        decimal::<u16>(text).is_some_and(|side| (SIDE_PIXELS_MIN..=SIDE_PIXELS_MAX).contains(&side))
    };
    text.split_once('x')
        .is_some_and(|(width, height)| is_side(width) && is_side(height))
}

/// Parses decimal digits without sign or leading zero. `FromStr` alone would accept both.
fn decimal<T: std::str::FromStr>(text: &str) -> Option<T> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    plain.then(|| text.parse().ok()).flatten()
}

fn refusal(fields: &Fields, name: &str, bound: &str) -> InvalidRequest {
    let given = match (fields.read::<String>(name), fields.text(name)) {
        (Some(text), _) => format!("got \"{}\"", escaped(&text)),
        (None, None | Some("null")) => "it is missing".to_owned(),
        (None, Some(text)) => format!("got {}", escaped(text)),
    };
    InvalidRequest {
        param: Some(name.to_owned()),
        message: format!("`{name}` {bound}; {given}"),
    }
}
