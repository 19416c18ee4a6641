//! How the pages write times, sizes and names.

use std::time::Duration;

use serde_json::Value;

use crate::domain::kind::Kind;
use crate::domain::observation::Source;
use crate::domain::task::State;
use crate::domain::timestamp::Timestamp;

/// JSON that is shown on a page is cut after this many bytes. The API has all of it.
const JSON_BYTES_MAX: usize = 64 * 1024;

/// A point in time, for a `<time>` element.
#[derive(Clone, Debug)]
pub struct Moment {
    /// RFC 3339.
    pub exact: String,
    /// Relative to now, such as `5 min ago`. The page keeps it current.
    pub relative: String,
}

impl Moment {
    pub fn new(at: Timestamp, now: Timestamp) -> Self {
        let relative = if at > now {
            format!("in {}", span(at.since(now)))
        } else {
            match now.since(at) {
                just if just < Duration::from_secs(2) => "just now".to_owned(),
                past => format!("{} ago", span(past)),
            }
        };
        Self {
            exact: at.to_string(),
            relative,
        }
    }
}

/// A length of time in its largest unit, such as `5 min`.
pub fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// A latency, with milliseconds.
pub fn latency(millis: i64) -> String {
    let sign = if millis < 0 { "−" } else { "+" };
    let millis = millis.unsigned_abs();
    match millis {
        0..60_000 => format!("{sign}{}.{:03} s", millis / 1000, millis % 1000),
        _ => format!("{sign}{}", span(Duration::from_millis(millis))),
    }
}

/// A size with at most three digits, such as `1.2 MB`.
pub fn size(bytes: u64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB"];
    let (mut unit, mut scale) = (0, 1u64);
    while bytes / scale >= 1000 && unit + 1 < units.len() {
        scale *= 1000;
        unit += 1;
    }
    let whole = bytes / scale;
    if unit == 0 || whole >= 10 {
        format!("{whole} {}", units[unit])
    } else {
        format!("{whole}.{} {}", bytes % scale * 10 / scale, units[unit])
    }
}

/// The first `count` characters of a text.
pub fn beginning(text: &str, count: usize) -> String {
    match text.char_indices().nth(count) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Indents JSON for people. Text that is no JSON stays as it is.
pub fn pretty(json: &[u8]) -> String {
    let indented = serde_json::from_slice::<Value>(json)
        .and_then(|value| serde_json::to_string_pretty(&value));
    let text = indented.unwrap_or_else(|_| String::from_utf8_lossy(json).into_owned());
    let Some(text_in_bounds) = text.get(..text.floor_char_boundary(JSON_BYTES_MAX)) else {
        return text;
    };
    if text_in_bounds.len() == text.len() {
        return text;
    }
    format!("{text_in_bounds}\n… cut here; the API has all of it")
}

/// `url` if a browser may follow it. EvoLink or an app has written it, so it could be a script.
pub fn web_link(url: &str) -> Option<String> {
    let parsed = url::Url::parse(url).ok()?;
    matches!(parsed.scheme(), "http" | "https").then(|| url.to_owned())
}

pub const fn state_label(state: State) -> &'static str {
    match state {
        State::Submitting => "submitting",
        State::SubmitUnknown => "submit unknown",
        State::Rejected => "rejected",
        State::Pending => "pending",
        State::Processing => "processing",
        State::Completed => "completed",
        State::Failed => "failed",
        State::Cancelled => "cancelled",
        State::Unresolved => "unresolved",
    }
}

/// How a state is coloured: `good`, `bad`, `busy`, `warn` or `plain`.
pub const fn tone(state: State) -> &'static str {
    match state {
        State::Completed => "good",
        State::Failed | State::Rejected => "bad",
        State::Submitting | State::Pending | State::Processing => "busy",
        State::SubmitUnknown | State::Unresolved => "warn",
        State::Cancelled => "plain",
    }
}

pub const fn source_label(source: Source) -> &'static str {
    match source {
        Source::Submit => "submit",
        Source::Callback => "callback",
        Source::Poll => "poll",
        Source::Replay => "replay",
    }
}

pub const fn kind_label(kind: Option<Kind>) -> &'static str {
    match kind {
        Some(Kind::Image) => "image",
        Some(Kind::Video) => "video",
        Some(Kind::Audio) => "audio",
        None => "unknown kind",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_are_short() {
        let sizes = [0, 999, 1000, 1234, 9_999, 12_345, 1_500_000, u64::MAX].map(size);
        let expected = [
            "0 B",
            "999 B",
            "1.0 kB",
            "1.2 kB",
            "9.9 kB",
            "12 kB",
            "1.5 MB",
            "18446744 TB",
        ];
        assert_eq!(sizes, expected);
        let spans = [0, 59, 60, 3599, 3600, 172_799, 172_800];
        let spans = spans.map(|seconds| span(Duration::from_secs(seconds)));
        assert_eq!(
            spans,
            ["0 s", "59 s", "1 min", "59 min", "1 h", "47 h", "2 d"]
        );
        let latencies = [7, 1234, -5, 61_000].map(latency);
        assert_eq!(latencies, ["+0.007 s", "+1.234 s", "−0.005 s", "+1 min"]);
    }

    #[test]
    fn only_web_addresses_are_links() {
        assert!(web_link("https://files.evolink.ai/a.png").is_some());
        for other in [
            "javascript:alert(1)",
            "data:text/html,x",
            "",
            "//x",
            "file:///x",
        ] {
            assert_eq!(web_link(other), None, "{other}");
        }
    }

    #[test]
    fn json_is_indented_and_bounded() {
        assert_eq!(pretty(br#"{"a":1}"#), "{\n  \"a\": 1\n}");
        assert_eq!(pretty(b"not json"), "not json");
        let long = pretty(format!("\"{}\"", "é".repeat(100_000)).as_bytes());
        assert!(long.len() < JSON_BYTES_MAX + 100 && long.ends_with("all of it"));
    }
}
