//! Bodies of callbacks as EvoLink documents them.

use serde_json::{Value, json};

/// The body of a completed task as EvoLink documents it.
pub fn completed(id: &str) -> String {
    completed_with(id, &json!(["https://files.evolink.ai/images/a.webp"]))
}

pub fn completed_with(id: &str, results: &Value) -> String {
    body(
        id,
        "completed",
        &json!({"progress": 100, "results": results}),
    )
}

/// A task body with the members that every body has, and `more`.
pub fn body(id: &str, status: &str, more: &Value) -> String {
    let mut body = json!({
        "id": id, "status": status, "created": 1_757_165_031, "model": "z-image-turbo",
        "object": "image.generation.task", "type": "image", "task_info": {"can_cancel": false},
    });
    for (key, value) in more.as_object().unwrap() {
        body[key] = value.clone();
    }
    body.to_string()
}
