//! Values with units: durations and sizes as text with a unit, and URLs.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use url::Url;

use crate::domain::timestamp::Timestamp;

/// A number of bytes, written `"256KiB"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ByteSize(u64);

/// Powers of two only: `KB` could mean 1000 or 1024.
const SIZE_UNITS: [(&str, u64); 4] = [
    ("GiB", 1024 * 1024 * 1024),
    ("MiB", 1024 * 1024),
    ("KiB", 1024),
    ("B", 1),
];

impl ByteSize {
    pub const fn bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    pub const fn kib(kib: u64) -> Self {
        Self(kib * 1024)
    }

    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// Returns the size as a length in memory. A size beyond the address space becomes
    /// `usize::MAX`.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let split_at = text.find(|character: char| !character.is_ascii_digit());
        let (number, unit) = text.split_at(split_at.unwrap_or(text.len()));
        let unit = unit.trim_start();
        let known = SIZE_UNITS.iter().find(|(name, _)| *name == unit);
        let bytes = match (number.parse::<u64>(), known) {
            (Ok(number), Some((_, factor))) => number.checked_mul(*factor),
            _ => None,
        };
        bytes.map(Self).ok_or_else(|| {
            format!("{text:?} is not a size; write a whole number with B, KiB, MiB or GiB, as in \"256KiB\"")
        })
    }
}

impl TryFrom<String> for ByteSize {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<ByteSize> for String {
    fn from(size: ByteSize) -> Self {
        size.to_string()
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = SIZE_UNITS
            .iter()
            .find(|(_, factor)| self.0.is_multiple_of(*factor));
        let (name, factor) = exact.expect("every number is a whole number of bytes");
        write!(f, "{}{name}", self.0 / factor)
    }
}

/// Durations as text, for `#[serde(with = "duration")]`: `"250ms"`, `"10s"`, `"24h"`, `"90d"`. A
/// day has 24 hours.
pub(super) mod duration {
    use std::time::Duration;

    use jiff::{Span, SpanRelativeTo};
    use serde::{Deserialize, Deserializer, Serializer, de};

    const UNITS: [(&str, u128); 7] = [
        ("d", 86_400_000_000_000),
        ("h", 3_600_000_000_000),
        ("m", 60_000_000_000),
        ("s", 1_000_000_000),
        ("ms", 1_000_000),
        ("us", 1_000),
        ("ns", 1),
    ];

    pub fn serialize<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&text(*value))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse(&text).map_err(de::Error::custom)
    }

    /// The same for a key that may be absent.
    pub mod optional {
        use std::time::Duration;

        use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

        #[expect(clippy::ref_option, reason = "serde calls it so")]
        pub fn serialize<S: Serializer>(
            value: &Option<Duration>,
            serializer: S,
        ) -> Result<S::Ok, S::Error> {
            value.map(super::text).serialize(serializer)
        }

        pub fn deserialize<'de, D: Deserializer<'de>>(
            deserializer: D,
        ) -> Result<Option<Duration>, D::Error> {
            let text = Option::<String>::deserialize(deserializer)?;
            let value = text.map(|text| super::parse(&text)).transpose();
            value.map_err(de::Error::custom)
        }
    }

    /// Returns the shortest exact text.
    pub fn text(value: Duration) -> String {
        let nanos = value.as_nanos();
        if nanos == 0 {
            return "0s".into();
        }
        let exact = UNITS
            .iter()
            .find(|(_, factor)| nanos.is_multiple_of(*factor));
        let (name, factor) = exact.expect("every duration is a whole number of nanoseconds");
        format!("{}{name}", nanos / factor)
    }

    pub fn parse(text: &str) -> Result<Duration, String> {
        let refuse = || {
            format!(
                "{text:?} is not a duration; write a number with its unit, as in \"250ms\", \"10s\", \"24h\" or \"90d\""
            )
        };
        let span: Span = text.trim().parse().map_err(|_| refuse())?;
        let signed = span
            .to_duration(SpanRelativeTo::days_are_24_hours())
            .map_err(|_| refuse())?;
        Duration::try_from(signed).map_err(|_| format!("{text:?} must not be negative"))
    }
}

/// Parses a URL that has a host but no user or password, so that it can be logged.
pub(super) fn url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Url, D::Error> {
    let text = String::deserialize(deserializer)?;
    // The error does not repeat the text, which may contain a password.
    let url =
        Url::parse(&text).map_err(|error| de::Error::custom(format!("not a URL: {error}")))?;
    if !url.has_host() {
        return Err(de::Error::custom("must be a URL with a host"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(de::Error::custom("must not hold a user or a password"));
    }
    Ok(url)
}

/// Like `url`, for a key that may be absent.
pub(super) fn optional_url<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Url>, D::Error> {
    url(deserializer).map(Some)
}

/// Parses a point in time: RFC 3339, or a date, which is its beginning in UTC.
pub(super) fn optional_time<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Timestamp>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let whole = Timestamp::parse(&text);
    let time = whole.or_else(|| Timestamp::parse(&format!("{text}T00:00:00Z")));
    let message = || {
        de::Error::custom(format!(
            "{text:?} is not a time; write a date or a time with its zone, as in \"2027-01-31\" or \"2027-01-31T12:00:00Z\""
        ))
    };
    time.map(Some).ok_or_else(message)
}

/// Checks a URL but keeps it as text, because parsing would lose a relative path
/// (`file:data/results`).
pub(super) fn place<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.contains('@') {
        return Err(de::Error::custom("must not hold a user or a password"));
    }
    Ok(text)
}

/// Redacts the password in a URL that is kept as text, because parsing would lose a relative path
/// (`sqlite:data/x.db`).
pub(super) fn with_password_redacted(url: &str) -> String {
    match (url.split_once("://"), url.rfind('@')) {
        (Some((scheme, _)), Some(at)) if at >= scheme.len() + 3 => {
            format!("{scheme}://[redacted]{}", &url[at..])
        }
        // The start refuses such URLs, but even then they must not be shown.
        _ if url.contains("password=") => "[redacted]".to_owned(),
        _ => url.to_owned(),
    }
}

pub(super) fn without_password<S: Serializer>(url: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&with_password_redacted(url))
}
