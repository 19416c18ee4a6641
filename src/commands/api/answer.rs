//! Reads values from the service's responses. These stay JSON, because most of it is EvoLink's and
//! may be anything.

use serde_json::Value;

/// Returns the `data` of a page.
pub fn take_data(mut page: Value) -> Vec<Value> {
    match page.get_mut("data").map(Value::take) {
        Some(Value::Array(data)) => data,
        _ => Vec::new(),
    }
}

/// Returns the text at a JSON pointer.
pub fn text<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer)?.as_str()
}

/// Returns the state that our service gives to a task; empty if the task has none.
pub fn state(task: &Value) -> &str {
    text(task, "/receiver/state").unwrap_or_default()
}

/// Returns the time from a task's submit to its outcome.
pub fn outcome_after_ms(task: &Value) -> Option<i64> {
    let outcome = time_ms(task, "/receiver/outcome_at")?;
    Some(outcome - time_ms(task, "/receiver/submitted_at")?)
}

/// Returns a time of the service, in milliseconds since the Unix epoch.
pub fn time_ms(value: &Value, pointer: &str) -> Option<i64> {
    let time: jiff::Timestamp = text(value, pointer)?.parse().ok()?;
    Some(time.as_millisecond())
}

/// Formats milliseconds as seconds, for people.
pub fn seconds(ms: i64) -> String {
    let sign = if ms < 0 { "-" } else { "" };
    let ms = ms.unsigned_abs();
    format!("{sign}{}.{:03} s", ms / 1000, ms % 1000)
}

/// Formats an age in milliseconds in its largest whole unit, such as `3m`.
pub fn age(ms: i64) -> String {
    let seconds = ms.max(0) / 1000;
    match seconds {
        ..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// Whether a task in this state is finished.
pub fn is_terminal(state: &str) -> bool {
    matches!(
        state,
        "completed" | "failed" | "cancelled" | "rejected" | "unresolved"
    )
}
