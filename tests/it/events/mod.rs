//! The log as it grows, for waiters, for readers of pages and for subscribers of a stream.

mod broken;
mod campaign;
mod clients;
mod crowd;
mod epochs;
mod feed;
mod news;
mod stalled;
mod stream;

use std::ops::Range;

use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::events::seen::{Seen, logged};

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

fn seqs(page: &Value) -> Vec<i64> {
    let events = page["data"].as_array().unwrap().iter();
    events.map(|event| event["seq"].as_i64().unwrap()).collect()
}
