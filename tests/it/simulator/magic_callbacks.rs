//! The magic prompts about callbacks: their number, their order, and their form.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Caught, Stage};

/// Number, order and time of callbacks.
pub async fn counted(stage: &Stage, name: &str) -> bool {
    let (prompt, expected): (&str, &[&str]) = match name {
        "lost-callback" => ("[sim:lost-callback]", &[]),
        "late-callback" => ("[sim:late-callback=300ms]", &["completed"]),
        "early-callback" => ("[sim:early-callback,duration=10m]", &["completed"]),
        "twice" => ("[sim:twice]", &["completed"; 2]),
        "repeated" => ("[sim:repeated=4]", &["completed"; 4]),
        "parallel" => ("[sim:parallel=8]", &["completed"; 8]),
        "staged" => ("[sim:staged]", &["processing", "processing", "completed"]),
        "music-stages" => (
            "[sim:music-stages]",
            &["processing", "completed", "completed"],
        ),
        "reordered" => ("[sim:reordered]", &["completed", "processing"]),
        "conflicting" => ("[sim:conflicting]", &["completed", "failed"]),
        _ => return false,
    };
    let started = Instant::now();
    let id = stage.task(prompt).await;
    if name == "early-callback" {
        assert_eq!(
            stage.catcher.caught().len(),
            1,
            "the submit was answered first"
        );
    }
    stage.caught(expected.len()).await;
    let caught = stage.settled().await;
    let bodies: Vec<Value> = caught.iter().map(Caught::json).collect();
    let statuses: Vec<&Value> = bodies.iter().map(|body| &body["status"]).collect();
    assert_eq!(statuses, expected);
    assert!(bodies.iter().all(|body| body["id"] == id.as_str()));
    match name {
        "late-callback" => assert!(caught[0].at - started >= Duration::from_millis(330)),
        "music-stages" => {
            let count = |body: &Value| body["results"].as_array().map(Vec::len);
            assert_eq!((count(&bodies[1]), count(&bodies[2])), (Some(1), Some(2)));
            assert_eq!(bodies[1]["results"][0], bodies[2]["results"][0]);
        }
        "staged" => assert!(bodies[0]["progress"].as_u64() < bodies[1]["progress"].as_u64()),
        _ => {}
    }
    // Whatever the callbacks report, a query returns the true state.
    let task = stage.query(&id).await.json();
    assert_eq!(task["status"], "completed");
    true
}

/// The content of the body.
pub async fn formed(stage: &Stage, name: &str) -> bool {
    if !name.starts_with("callback-") {
        return false;
    }
    let id = stage.task(&format!("[sim:{name}]")).await;
    let caught = stage.caught(1).await.remove(0);
    let task = stage.query(&id).await.json();
    match repaired(name, &caught, &task) {
        Some(repaired) => assert_eq!(repaired, task, "it differs in more than its row says"),
        None => return false,
    }
    true
}

/// The body with the fault of its row repaired; `None` if the row is unknown here.
fn repaired(name: &str, caught: &Caught, task: &Value) -> Option<Value> {
    let body: Value = serde_json::from_slice(&caught.body).unwrap_or_default();
    let mut repaired = body.clone();
    match name {
        "callback-not-json" => {
            assert!(!caught.body.is_empty() && body.is_null());
            return Some(task.clone());
        }
        "callback-array" => repaired = body[0].clone(),
        "callback-wrapped" => repaired = body["data"].clone(),
        "callback-no-id" | "callback-no-status" | "callback-no-results" => {
            let field = &name["callback-no-".len()..];
            assert_eq!(body.get(field), None);
            repaired[field] = task[field].clone();
        }
        "callback-wrong-id" => {
            let other = body["id"].as_str().unwrap();
            assert!(
                other.starts_with("task-unified-")
                    && other.len() == task["id"].as_str().unwrap().len()
                    && other != task["id"]
            );
            repaired["id"] = task["id"].clone();
        }
        "callback-renamed" => {
            assert_eq!(
                (&body["task_id"], &body["status"]),
                (&task["id"], &json!("succeeded"))
            );
            repaired["status"] = task["status"].clone();
            repaired["id"] = take(&mut repaired, "task_id");
        }
        "callback-unknown-status" => {
            assert_eq!(body["status"], "archived");
            repaired["status"] = task["status"].clone();
        }
        "callback-extra-fields" => {
            for extra in [
                "duration",
                "request_id",
                "result_data",
                "billing",
                "unheard_of",
                "",
            ] {
                assert_ne!(take(&mut repaired, extra), Value::Null, "{extra}");
            }
        }
        "callback-error-text" => {
            assert_eq!(
                (&task["status"], &body["error"]),
                (&json!("failed"), &task["error"]["message"])
            );
            repaired["error"] = task["error"].clone();
        }
        "callback-huge" => {
            assert!(caught.body.len() > 1024 * 1024);
            take(&mut repaired, "padding");
        }
        "callback-encoded" => assert_eq!(caught.headers["content-encoding"], "gzip"),
        _ => return None,
    }
    Some(repaired)
}

fn take(body: &mut Value, name: &str) -> Value {
    body.as_object_mut()
        .unwrap()
        .remove(name)
        .unwrap_or_default()
}
