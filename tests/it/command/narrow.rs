//! Lists on terminals of different widths: one line a row, and ids that can be copied.

use serde_json::{Value, json};
use tokio::task::spawn_blocking;
use unicode_width::UnicodeWidthStr as _;

use super::script::scripted;
use crate::support::net::raw_server::http;
use crate::support::process::command::Ended;
use crate::support::process::terminal::Terminal;

const TASK: &str = "task-unified-1795971739-0zt7btwz";
const SUBMISSION: &str = "01a22841-eeb6-7000-8002-28b0d77635c0";
const AT: &str = "2026-11-29T17:02:19.318Z";

fn task() -> Value {
    let receiver = json!({"submission_id": SUBMISSION, "state": "completed", "source": "callback",
        "client": "a-web-shop-of-ours", "submitted_at": AT, "outcome_at": AT,
        "request": {"prompt": "a cat that sleeps on a red sofa, in the style of an old master"}});
    json!({"id": TASK, "progress": 100, "status": "completed", "receiver": receiver})
}

fn delivery() -> Value {
    json!({"id": 42, "state": "pending", "endpoint": "the-billing-service-of-ours", "task_id": TASK,
        "event": {"type": "task.completed"}, "made_at": AT, "attempts": 3, "last_status": 503,
        "last_error": "the endpoint answered 503 Service Unavailable and then nothing for long"})
}

fn entry() -> Value {
    json!({"id": 7, "kind": "contradiction", "subject": SUBMISSION, "task_id": TASK, "first_at": AT,
        "repeats": 2, "bytes": 123_456, "replay_result": "unreadable"})
}

async fn shown(columns: u16, args: &'static [&'static str], row: &Value) -> Option<Ended> {
    let page = json!({"data": [row], "next": null}).to_string();
    let server = scripted(vec![http(200, &[], &page)]).await;
    let url = server.url.clone();
    let terminal = Terminal::of(columns);
    let running = spawn_blocking(move || terminal.run(args, &[("EVOLINK_RECEIVER_URL", &url)]));
    running.await.unwrap()
}

#[tokio::test]
async fn a_list_is_as_wide_as_its_terminal_and_shows_its_ids_whole() {
    for (args, row, ids) in [
        (&["tasks", "list"][..], task(), &[TASK][..]),
        (&["deliveries", "list"], delivery(), &[TASK, "42"]),
        (&["quarantine", "list"], entry(), &[SUBMISSION, "7"]),
    ] {
        for columns in [60, 80, 120] {
            let Some(ended) = shown(columns, args, &row).await else {
                return;
            };
            let lines: Vec<&str> = ended.stdout.lines().collect();
            assert_eq!((ended.code, lines.len()), (Some(0), 3), "{}", ended.stdout);
            for line in &lines {
                let width = line.width();
                assert!(width <= usize::from(columns), "{columns}: {}", ended.stdout);
            }
            for id in ids {
                let mut words = lines[2].split_whitespace();
                assert!(words.any(|word| word == *id), "{columns}: {}", ended.stdout);
            }
        }
    }
}

#[tokio::test]
async fn tasks_are_listed_with_the_start_of_their_prompt_and_their_age() {
    let Some(ended) = shown(120, &["tasks", "list"], &task()).await else {
        return;
    };
    let lines: Vec<&str> = ended.stdout.lines().collect();
    let header: Vec<&str> = lines[0].split_whitespace().collect();
    let expected = [
        "task", "state", "prompt", "age", "after", "source", "client",
    ];
    assert_eq!(header, expected);
    assert!(
        lines[2].contains("a cat that sleeps on a"),
        "{}",
        ended.stdout
    );
    let narrow = shown(60, &["tasks", "list"], &task()).await.unwrap();
    let lines: Vec<&str> = narrow.stdout.lines().collect();
    assert!(
        lines[0].contains("prompt") && lines[0].contains("age"),
        "{}",
        narrow.stdout
    );
    assert!(lines[2].contains("a cat t"), "{}", narrow.stdout);
}
