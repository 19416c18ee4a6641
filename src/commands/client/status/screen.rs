//! The screen of `status`. Each line begins with what it is about, and is cut at the width of the
//! terminal.

use std::io::Write;

use serde_json::Value;

use crate::commands::api::{age, text, time_ms};
use crate::commands::table::{shortened, terminal_width};
use crate::observe::untrusted::Untrusted;

/// The width of the labels.
const LABEL: usize = 12;

/// The most endpoints that are shown. One that has trouble is shown first.
const ENDPOINTS_MAX: usize = 5;

/// A task is polled within seconds after it is due.
const OVERDUE_MS: i64 = 60_000;

/// The names of the counts, in the order in which they are shown. Others follow.
const STATES: [&str; 5] = [
    "submitting",
    "submit_unknown",
    "pending",
    "processing",
    "unresolved",
];

struct Screen<'a, W> {
    out: &'a mut W,
    width: Option<usize>,
}

pub fn write(status: &Value, out: &mut impl Write) -> std::io::Result<()> {
    write_within(terminal_width(), status, out)
}

fn write_within(width: Option<usize>, status: &Value, out: &mut impl Write) -> std::io::Result<()> {
    let mut screen = Screen { out, width };
    screen.line("service", &service(status))?;
    if let Some(why) = text(status, "/limited") {
        let why = Untrusted(why);
        return screen
            .line(
                "limited",
                &format!("{why}; a key with the scope admin shows all"),
            )
            .and_then(|()| screen.details(&status["details"]));
    }
    let hour = &status["last_hour"];
    screen.line("callbacks", &counts(&hour["callbacks"]))?;
    for (label, name) in [("refused", "refused"), ("handshakes", "handshakes")] {
        if let Some(refused) = some_counts(&hour[name]) {
            screen.line(label, &refused)?;
        }
    }
    screen.line("outcomes", &counts(&hour["outcomes"]))?;
    screen.line("tasks", &tasks(&status["tasks"]))?;
    if let Some(overdue) = overdue(status) {
        screen.line("overdue", &overdue)?;
    }
    if let Some(unknown) = unknown(status) {
        screen.line("unknown", &unknown)?;
    }
    screen.endpoints(&status["endpoints"])?;
    screen.details(&status["details"])
}

impl<W: Write> Screen<'_, W> {
    fn line(&mut self, label: &str, says: &str) -> std::io::Result<()> {
        let line = format!("{label:<LABEL$} {says}");
        let line = match self.width {
            Some(width) => shortened(&line, width),
            None => line,
        };
        writeln!(self.out, "{line}")
    }

    fn endpoints(&mut self, endpoints: &Value) -> std::io::Result<()> {
        let Some(endpoints) = endpoints.as_array() else {
            return self.line("endpoints", "not known: the store does not answer");
        };
        let mut endpoints: Vec<&Value> = endpoints.iter().collect();
        endpoints.sort_by_key(|endpoint| !is_troubled(endpoint));
        for (nth, endpoint) in endpoints.iter().take(ENDPOINTS_MAX).enumerate() {
            let label = if nth == 0 { "endpoints" } else { "" };
            self.line(label, &self::endpoint(endpoint))?;
        }
        match endpoints.len().saturating_sub(ENDPOINTS_MAX) {
            0 => Ok(()),
            more => self.line("", &format!("and {more} more")),
        }
    }

    fn details(&mut self, details: &Value) -> std::io::Result<()> {
        for (name, detail) in details.as_object().into_iter().flatten() {
            let state = text(detail, "/state").unwrap_or("-");
            let message = Untrusted::up_to(text(detail, "/message").unwrap_or("-"), 1000);
            let says = format!("{:<7} {message}", Untrusted(state).to_string());
            self.line(&Untrusted(name).to_string(), &says)?;
        }
        Ok(())
    }
}

fn service(status: &Value) -> String {
    let mut says = match text(status, "/service/reason") {
        Some(reason) => format!("NOT READY: {}", Untrusted(reason)),
        None => "ready".to_owned(),
    };
    if let Some(version) = text(status, "/service/version") {
        says = format!("{says}, version {}", Untrusted(version));
    }
    if let Some(database) = text(status, "/service/database") {
        says = format!("{says}, {}", Untrusted(database));
    }
    let now = time_ms(status, "/service/now");
    if let Some((now, started)) = now.zip(time_ms(status, "/service/started_at")) {
        says = format!("{says}, started {} ago", age(now - started));
    }
    says
}

fn some_counts(counts: &Value) -> Option<String> {
    let counts = counts.as_object()?.iter();
    let parts: Vec<String> = counts
        .map(|(name, count)| format!("{count} {}", Untrusted(name)))
        .collect();
    (!parts.is_empty()).then(|| format!("{} in the last hour", parts.join(", ")))
}

fn counts(counts: &Value) -> String {
    some_counts(counts).unwrap_or_else(|| "none in the last hour".to_owned())
}

fn tasks(counts: &Value) -> String {
    if counts.is_null() {
        return "not known: the store does not answer".to_owned();
    }
    let parts = STATES.map(|state| format!("{} {state}", counts[state]));
    parts.join(", ")
}

fn overdue(status: &Value) -> Option<String> {
    let overdue = &status["oldest_overdue"];
    let for_ms = time_ms(status, "/service/now")? - time_ms(overdue, "/due_at")?;
    let task = Untrusted(text(overdue, "/task_id")?);
    (for_ms >= OVERDUE_MS).then(|| format!("{task} should have been polled {} ago", age(for_ms)))
}

fn unknown(status: &Value) -> Option<String> {
    let submits = status["unknown_submits"].as_array()?;
    let newest = submits.first()?;
    let count = &status["tasks"]["submit_unknown"];
    let id = Untrusted(text(newest, "/submission_id")?);
    let submits = if *count == 1 { "submit" } else { "submits" };
    Some(format!(
        "{count} {submits} that EvoLink may have charged, newest {id}: tasks list --status submit_unknown"
    ))
}

fn is_troubled(endpoint: &Value) -> bool {
    endpoint["disabled"] == true
        || endpoint["dead"]["count"] != 0
        || !endpoint["last_error"].is_null()
}

fn endpoint(endpoint: &Value) -> String {
    let name = Untrusted(text(endpoint, "/name").unwrap_or("-"));
    let mut says = format!("{name}:");
    if endpoint["disabled"] == true {
        says.push_str(" DISABLED,");
    }
    for (nth, state) in ["pending", "dead"].iter().enumerate() {
        let counted = &endpoint[state];
        let (gap, plus) = (
            if nth == 0 { " " } else { ", " },
            if counted["more"] == true { "+" } else { "" },
        );
        says = format!("{says}{gap}{}{plus} {state}", counted["count"]);
    }
    match text(endpoint, "/last_error") {
        Some(error) => format!("{says}: {}", Untrusted(error)),
        None => says,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use unicode_width::UnicodeWidthStr as _;

    fn shown(width: Option<usize>, status: &Value) -> Vec<String> {
        let mut written = Vec::new();
        super::write_within(width, status, &mut written).unwrap();
        let written = String::from_utf8(written).unwrap();
        written.lines().map(str::to_owned).collect()
    }

    fn trouble() -> Value {
        let endpoint = |name: String| {
            json!({"name": name, "disabled": false, "last_error": null,
                "pending": {"count": 0, "more": false}, "dead": {"count": 0, "more": false}})
        };
        let mut endpoints: Vec<Value> = (0..6).map(|n| endpoint(format!("fine-{n}"))).collect();
        endpoints.push(
            json!({"name": "shop", "disabled": true, "last_error": "410 Gone",
            "pending": {"count": 100, "more": true}, "dead": {"count": 3, "more": false}}),
        );
        json!({
            "service": {"version": "0.1.0", "database": "SQLite 3.51.3, schema 8", "started_at": "2026-11-29T09:00:00Z",
                "now": "2026-11-29T12:00:00Z", "ready": false, "reason": "the disk is full"},
            "last_hour": {"callbacks": {"recorded": 12, "duplicate": 1}, "outcomes": {"poll": 5},
                "refused": {"wrong_path": 7}, "handshakes": {}},
            "tasks": {"submitting": 0, "submit_unknown": 2, "pending": 1, "processing": 3, "unresolved": 0},
            "oldest_overdue": {"task_id": "task-9", "due_at": "2026-11-29T11:50:00Z"},
            "unknown_submits": [{"submission_id": "01a22841-eeb6-7000-8002-28b0d77635c0"}],
            "endpoints": endpoints,
            "details": {"disk": {"state": "failing", "message": "the store's disk is full"}},
        })
    }

    #[test]
    fn every_trouble_has_its_line_and_the_troubled_endpoint_comes_first() {
        let expected = [
            "service      NOT READY: the disk is full, version 0.1.0, SQLite 3.51.3, schema 8, started 3h ago",
            "callbacks    12 recorded, 1 duplicate in the last hour",
            "refused      7 wrong_path in the last hour",
            "outcomes     5 poll in the last hour",
            "tasks        0 submitting, 2 submit_unknown, 1 pending, 3 processing, 0 unresolved",
            "overdue      task-9 should have been polled 10m ago",
            "unknown      2 submits that EvoLink may have charged, newest 01a22841-eeb6-7000-8002-28b0d77635c0: tasks list --status submit_unknown",
            "endpoints    shop: DISABLED, 100+ pending, 3 dead: 410 Gone",
            "             fine-0: 0 pending, 0 dead",
            "             fine-1: 0 pending, 0 dead",
            "             fine-2: 0 pending, 0 dead",
            "             fine-3: 0 pending, 0 dead",
            "             and 2 more",
            "disk         failing the store's disk is full",
        ];
        assert_eq!(shown(None, &trouble()), expected);
        for width in [60, 80, 120] {
            let lines = shown(Some(width), &trouble());
            assert!(lines.len() <= 24, "{lines:?}");
            assert!(lines.iter().all(|line| line.width() <= width), "{lines:?}");
        }
    }

    #[test]
    fn what_is_not_known_is_said_and_a_poll_that_is_due_now_is_no_trouble() {
        let mut status = trouble();
        status["service"]["reason"] = Value::Null;
        status["oldest_overdue"]["due_at"] = json!("2026-11-29T11:59:58Z");
        for name in ["tasks", "unknown_submits", "endpoints"] {
            status[name] = Value::Null;
        }
        let lines = shown(None, &status);
        assert_eq!(
            lines[0],
            "service      ready, version 0.1.0, SQLite 3.51.3, schema 8, started 3h ago"
        );
        assert_eq!(
            lines[4],
            "tasks        not known: the store does not answer"
        );
        assert_eq!(
            lines[5],
            "endpoints    not known: the store does not answer"
        );
    }
}
