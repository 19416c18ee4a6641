//! Events, as a reader received them and as the log has them.

use evolink_receiver::domain::event::id::{Epoch, EventId};
use serde_json::Value;

use crate::support::store::database::Database;

/// An event as a reader received it, or as the log has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub id: EventId,
    pub kind: String,
    pub task_id: String,
}

impl Seen {
    pub fn of(event: &Value) -> Self {
        let text = |name: &str| event[name].as_str().unwrap().to_owned();
        Self {
            id: EventId::parse(event["id"].as_str().unwrap()).unwrap(),
            kind: text("type"),
            task_id: text("task_id"),
        }
    }

    pub fn all(events: &Value) -> Vec<Self> {
        events.as_array().unwrap().iter().map(Self::of).collect()
    }
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
pub fn seq(id: &Value) -> i64 {
    let id = id.as_str().unwrap_or_default();
    EventId::parse(id)
        .unwrap_or_else(|| panic!("no event id: {id}"))
        .seq
}
