//! The log as it grows, for waiters, for readers of pages and for subscribers of a stream.

mod broken;
pub mod campaign;
mod crowd;
mod epochs;
mod feed;
pub mod news;
pub mod reader;
mod stalled;
mod stream;

use std::ops::Range;

use evolink_receiver::domain::event::id::{Epoch, EventId};
use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::database::Database;

/// An event as a reader received it, or as the log has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub id: EventId,
    pub kind: String,
    pub task_id: String,
}

impl Seen {
    fn of(event: &Value) -> Self {
        let text = |name: &str| event[name].as_str().unwrap().to_owned();
        Self {
            id: EventId::parse(event["id"].as_str().unwrap()).unwrap(),
            kind: text("type"),
            task_id: text("task_id"),
        }
    }

    fn all(events: &Value) -> Vec<Self> {
        events.as_array().unwrap().iter().map(Self::of).collect()
    }
}

/// Sends a callback for each of these tasks, in order.
async fn post(app: &TestApp, tasks: Range<u32>, status: &str) {
    let token = app.standing_token("shop");
    for number in tasks {
        let mut body = json!({"id": format!("task-{number}"), "status": status, "progress": 50});
        if status == "completed" {
            body["results"] = json!(["https://files.evolink.ai/0.webp"]);
        }
        let result = app.callback_result(&token, body.to_string()).await;
        assert_eq!(result, "recorded", "{body}");
    }
}

/// All events in the log.
async fn log(app: &TestApp) -> Vec<Seen> {
    let database = app.database().await;
    let logged = logged(&database).await;
    database.close().await;
    logged
}

pub async fn logged(database: &Database) -> Vec<Seen> {
    let sql = "SELECT event.seq, (SELECT name FROM epoch WHERE after_seq < event.seq ORDER BY number DESC LIMIT 1),
        type, task_id FROM event JOIN task ON task.seq = task_seq ORDER BY event.seq";
    let rows: Vec<(i64, String, String, String)> = database.rows(sql, &[]).await;
    let seen = rows.into_iter().map(|(seq, epoch, kind, task_id)| Seen {
        id: EventId {
            epoch: Epoch::parse(&epoch).unwrap(),
            seq,
        },
        kind,
        task_id,
    });
    seen.collect()
}

/// The number in an event id, such as a page's `next`.
fn seq(id: &Value) -> i64 {
    let id = id.as_str().unwrap_or_default();
    EventId::parse(id)
        .unwrap_or_else(|| panic!("no event id: {id}"))
        .seq
}

fn seqs(page: &Value) -> Vec<i64> {
    let events = page["data"].as_array().unwrap().iter();
    events.map(|event| event["seq"].as_i64().unwrap()).collect()
}
