//! The body of a callback, in every form that a receiver must cope with.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::simulator::plan::Form;
use crate::simulator::task::remove;

#[derive(Clone, Debug)]
pub struct Payload {
    pub body: Bytes,
    pub content_encoding: Option<&'static str>,
}

const HUGE_BYTES: usize = 1024 * 1024 + 1;

impl Payload {
    pub fn json(body: &Value) -> Self {
        Self::text(body.to_string())
    }

    fn text(body: String) -> Self {
        Self {
            body: body.into(),
            content_encoding: None,
        }
    }
}

/// Builds the payload of a callback from `body`, which is what a query would return.
pub fn shaped(body: &Value, form: Form) -> Payload {
    let mut body = body.clone();
    match form {
        Form::AsQueried => {}
        Form::NotJson => return Payload::text(format!("task {} is done", body["id"])),
        Form::Array => body = json!([body]),
        Form::NoId => remove(&mut body, &["id"]),
        Form::NoStatus => remove(&mut body, &["status"]),
        Form::WrongId => body["id"] = json!(another_id(&body)),
        Form::Wrapped => body = json!({ "data": body }),
        Form::Renamed => rename(&mut body),
        Form::UnknownStatus => body["status"] = json!("archived"),
        Form::NoResults => remove(&mut body, &["results"]),
        Form::ExtraFields => add_fields(&mut body),
        Form::ErrorAsText => body["error"] = body["error"]["message"].clone(),
        Form::Huge => body["padding"] = json!("a".repeat(HUGE_BYTES)),
        Form::Encoded => {
            return Payload {
                content_encoding: Some("gzip"),
                ..Payload::json(&body)
            };
        }
    }
    Payload::json(&body)
}

pub fn another_id(body: &Value) -> String {
    let id = body["id"].as_str().unwrap_or_default();
    let prefix = id.rsplit_once('-').map_or(id, |(prefix, _)| prefix);
    format!("{prefix}-0another")
}

fn rename(body: &mut Value) {
    body["task_id"] = body["id"].clone();
    remove(body, &["id"]);
    let renamed = match body["status"].as_str() {
        Some("completed") => "succeeded",
        Some("failed") => "error",
        _ => return,
    };
    body["status"] = json!(renamed);
}

/// Adds the fields that EvoLink's own clients read, and two that are in no document.
fn add_fields(body: &mut Value) {
    body["duration"] = json!(1.5);
    body["request_id"] = json!("20260101000000000000000abcdefgh");
    body["result_data"] = json!([{"url": body["results"][0]}]);
    body["billing"] = json!({"charge_status": "charged", "refund_status": null});
    body["unheard_of"] = json!({"nested": [1, {"deep": true}], "text": "naïve ☃"});
    body[""] = json!("an empty name");
}
