//! Every magic prompt does what its row says. This goes through the program's own table, so that a
//! row without a test fails.

use std::collections::HashMap;
use std::error::Error;
use std::time::{Duration, Instant};

use evolink_receiver::simulator::magic_prompts;
use serde_json::json;
use tokio::task::JoinSet;

use super::files::fetched;
use super::{Stage, eventually, magic_callbacks};

/// Time in which a task of the simulator would end, if it ended.
const FOR_AN_END: Duration = Duration::from_millis(100);

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_magic_prompt_does_what_its_row_says() {
    let mut checks = JoinSet::new();
    let mut names_by_id = HashMap::new();
    let mut names = magic_prompts().iter().map(|(name, _)| *name);
    loop {
        // Only a few at a time, so that no check is delayed by the others for long.
        for name in names.by_ref().take(8 - checks.len()) {
            let handle = checks.spawn(check(name));
            names_by_id.insert(handle.id(), name);
        }
        match checks.join_next_with_id().await {
            None => break,
            Some(Ok((id, is_tested))) => assert!(is_tested, "no test for {}", names_by_id[&id]),
            Some(Err(error)) => panic!("[sim:{}]: {error}", names_by_id[&error.id()]),
        }
    }
}

async fn check(name: &'static str) -> bool {
    let stage = Stage::start().await;
    let is_tested = refused(&stage, name).await
        || answered(&stage, name).await
        || ended(&stage, name).await
        || queried(&stage, name).await
        || fetched(&stage, name).await
        || magic_callbacks::counted(&stage, name).await
        || magic_callbacks::formed(&stage, name).await
        || other(&stage, name).await;
    stage.simulator.shutdown().await;
    is_tested
}

#[tokio::test]
async fn an_unknown_instruction_is_refused() {
    let stage = Stage::start().await;
    let answer = stage.submit("a cat [sim:lost-calback]").await;
    assert_eq!(
        (answer.status, &answer.json()["error"]["param"]),
        (400, &json!("prompt"))
    );
}

async fn refused(stage: &Stage, name: &str) -> bool {
    let (status, code, retry_after) = match name {
        "rate-limited" => (429, json!("rate_limit_exceeded"), Some("1")),
        "rate-limited-bare" => (429, json!("rate_limit_exceeded"), None),
        "no-quota" => (402, json!("insufficient_quota"), None),
        "no-access" => (403, json!("model_access_denied"), None),
        "error-500" => (500, json!("internal_error"), None),
        "error-400" => (400, json!("invalid_request"), None),
        "error-413" => (413, json!("request_too_large"), None),
        "unavailable" => (503, json!("service_unavailable"), None),
        _ => return false,
    };
    let prompt = format!("[sim:{name},refusals=2]");
    for _ in 0..2 {
        let answer = stage.submit(&prompt).await;
        assert_eq!((answer.status, answer.code()), (status, code.clone()));
        assert_eq!(answer.header("retry-after"), retry_after);
    }
    assert_eq!(stage.simulator.stats().charges, 0);
    stage.task(&prompt).await;
    true
}

async fn answered(stage: &Stage, name: &str) -> bool {
    match name {
        "reset" => {
            let error = stage
                .post(&stage.request("[sim:reset]"))
                .send()
                .await
                .unwrap_err();
            assert!(is_reset(&error), "{error:?}");
        }
        "stall" => {
            let started = Instant::now();
            stage.task("[sim:stall=400ms]").await;
            assert!(started.elapsed() >= Duration::from_millis(400));
        }
        "bad-gateway" | "gateway-timeout" | "request-timeout" | "accepted-500" => {
            let answer = stage.submit(&format!("[sim:{name}]")).await;
            let status = match name {
                "bad-gateway" => 502,
                "gateway-timeout" => 504,
                "request-timeout" => 408,
                _ => 500,
            };
            assert!(
                answer.status == status && answer.text.starts_with("<html>"),
                "{name}"
            );
        }
        "garbage" => {
            let answer = stage.submit("[sim:garbage]").await;
            assert!(answer.status == 200 && answer.text.starts_with("<!DOCTYPE html>"));
        }
        "no-id" => {
            let task = stage.submit("[sim:no-id]").await.json();
            assert_eq!(
                (&task["id"], &task["status"]),
                (&json!(null), &json!("pending"))
            );
        }
        "number-id" => {
            assert!(stage.submit("[sim:number-id]").await.json()["id"].is_number());
        }
        "answer-unknown-status" => {
            let task = stage.submit("[sim:answer-unknown-status]").await.json();
            assert_eq!(
                (&task["status"], task.get("unheard_of").is_some()),
                (&json!("archived"), true)
            );
        }
        "answer-ended" => {
            let task = stage.submit("[sim:answer-ended]").await.json();
            assert_eq!(task["status"], "completed");
            assert_eq!(task, stage.query(task["id"].as_str().unwrap()).await.json());
        }
        "truncated-answer" => {
            let request = stage.post(&stage.request("[sim:truncated-answer]"));
            let response = request.send().await.unwrap();
            assert_eq!(response.status(), 200);
            assert!(response.bytes().await.is_err());
        }
        _ => return false,
    }
    // The task was accepted and charged anyway, and its callback arrives.
    assert_eq!(stage.simulator.stats().charges, 1);
    assert_eq!(
        stage.caught(1).await[0].json()["id"],
        stage.simulator.tasks()[0].id
    );
    true
}

fn is_reset(error: &(dyn Error + 'static)) -> bool {
    let io = error.downcast_ref::<std::io::Error>();
    io.is_some_and(|io| io.kind() == std::io::ErrorKind::ConnectionReset)
        || error.source().is_some_and(is_reset)
}

async fn ended(stage: &Stage, name: &str) -> bool {
    let (status, code) = match name {
        "fail" => ("failed", json!("service_error")),
        "content-policy" => ("failed", json!("content_policy_violation")),
        "fail-bare" => ("failed", json!(null)),
        "cancelled" | "canceled" => (name, json!(null)),
        "no-results" => ("completed", json!(null)),
        "result-data" => {
            let id = stage.task("[sim:result-data]").await;
            let callback = stage.caught(1).await[0].json();
            assert_eq!(callback, stage.query(&id).await.json());
            assert!(callback["result_data"]["element_id"].is_u64(), "{callback}");
            assert_eq!(callback.get("results"), None);
            return true;
        }
        "tracks" => {
            let id = stage.task("[sim:tracks]").await;
            let callback = stage.caught(1).await[0].json();
            assert_eq!(callback, stage.query(&id).await.json());
            let data = callback["result_data"].as_array().unwrap().iter();
            let urls: Vec<_> = data.map(|track| track["audio_url"].clone()).collect();
            assert_eq!(callback["results"], json!(urls));
            assert_eq!(urls.len(), 2);
            return true;
        }
        "never-ends" => {
            let id = stage.task("[sim:never-ends]").await;
            tokio::time::sleep(FOR_AN_END).await;
            let task = stage.query(&id).await.json();
            assert_eq!(
                (&task["status"], &task["progress"]),
                (&json!("processing"), &json!(99))
            );
            assert!(stage.catcher.caught().is_empty());
            return true;
        }
        _ => return false,
    };
    let id = stage.task(&format!("[sim:{name}]")).await;
    let callback = stage.caught(1).await[0].json();
    assert_eq!(callback, stage.query(&id).await.json());
    assert_eq!(
        (&callback["status"], &callback["error"]["code"]),
        (&json!(status), &code)
    );
    assert_eq!(callback.get("results"), None);
    let is_documented_failure = name == "content-policy";
    assert_eq!(callback.get("created").is_none(), is_documented_failure);
    assert_eq!(callback.get("type").is_none(), is_documented_failure);
    let message = callback["error"]["message"].as_str().unwrap_or_default();
    assert_eq!(message.contains('\n'), is_documented_failure);
    assert_eq!(
        stage.simulator.stats().refunds,
        u64::from(name != "no-results")
    );
    true
}

async fn queried(stage: &Stage, name: &str) -> bool {
    let (status, code) = match name {
        "query-403" => (403, "permission_denied"),
        "query-404" => (404, "task_not_found"),
        "query-410" => (410, "task_not_found"),
        "query-429" => (429, "rate_limit_exceeded"),
        "query-500" => (500, "internal_error"),
        _ => return queried_oddly(stage, name).await,
    };
    let id = stage.task(&format!("[sim:{name},query-faults=2]")).await;
    for _ in 0..2 {
        let answer = stage.query(&id).await;
        assert_eq!((answer.status, answer.code()), (status, json!(code)));
        assert_eq!(answer.header("retry-after").is_some(), status == 429);
    }
    assert_eq!(stage.query(&id).await.status, 200);
    let seen = stage.simulator.queries();
    let statuses: Vec<u16> = seen.iter().map(|query| query.status).collect();
    assert_eq!(
        (statuses, stage.simulator.stats().polls),
        (vec![status, status, 200], 3)
    );
    true
}

/// The first query is answered 200 with a wrong body, and the second one correctly.
async fn queried_oddly(stage: &Stage, name: &str) -> bool {
    let is_odd = match name {
        "query-garbage" => |text: &str, _: &str| text.starts_with("<!DOCTYPE html>"),
        "query-wrong-id" => {
            // The results, if there are any yet, are still those of the right task.
            |text: &str, id: &str| {
                !text.contains(&format!("\"id\":\"{id}\"")) && text.contains("task-unified-")
            }
        }
        "query-stall" => |text: &str, id: &str| text.contains(id),
        _ => return false,
    };
    let stall = if name == "query-stall" { "=300ms" } else { "" };
    let id = stage
        .task(&format!("[sim:{name}{stall},query-faults=1]"))
        .await;
    let started = Instant::now();
    let answer = stage.query(&id).await;
    assert!(
        answer.status == 200 && is_odd(&answer.text, &id),
        "{}",
        answer.text
    );
    let took = started.elapsed();
    assert!(
        name != "query-stall" || took >= Duration::from_millis(300),
        "{took:?}"
    );
    assert_eq!(stage.query(&id).await.json()["id"], id);
    let tasks = stage.simulator.tasks();
    assert_eq!(tasks[0].misbehaviours, [name, "query-faults"]);
    true
}

async fn other(stage: &Stage, name: &str) -> bool {
    match name {
        "well-behaved" => {
            let id = stage
                .task("[sim:fail,lost-callback,query-404,well-behaved]")
                .await;
            assert_eq!(stage.caught(1).await[0].json()["status"], "completed");
            assert_eq!(stage.query(&id).await.status, 200);
        }
        "duration" => {
            let started = Instant::now();
            stage.task("[sim:duration=300ms]").await;
            eventually(|| stage.simulator.stats().tasks_running == 0).await;
            assert!(started.elapsed() >= Duration::from_millis(300));
        }
        "refusals" => {
            assert_eq!(stage.submit("[sim:no-quota,refusals=1]").await.status, 402);
            assert_eq!(stage.submit("[sim:no-quota,refusals=1]").await.status, 200);
            assert_eq!(stage.submit("[sim:no-quota]").await.status, 402);
            assert_eq!(stage.submit("[sim:no-quota]").await.status, 402);
        }
        "integer-codes" => {
            let refused = stage.submit("[sim:no-quota,integer-codes]").await;
            assert_eq!(refused.code(), json!(402));
            let id = stage.task("[sim:query-500,integer-codes]").await;
            assert_eq!(stage.query(&id).await.code(), json!(500));
        }
        "signed-results" => {
            let id = stage.task("[sim:signed-results,twice]").await;
            let caught = stage.caught(2).await;
            let mut urls: Vec<String> = caught
                .iter()
                .map(|callback| callback.json()["results"][0].to_string())
                .collect();
            urls.push(stage.query(&id).await.json()["results"][0].to_string());
            let paths: Vec<&str> = urls
                .iter()
                .map(|url| url.split_once('?').unwrap().0)
                .collect();
            assert!(paths[0] == paths[1] && paths[1] == paths[2]);
            assert!(urls[0] != urls[1] && urls[1] != urls[2]);
        }
        "query-faults" => {
            let id = stage.task("[sim:query-404,query-faults=1]").await;
            assert_eq!(stage.query(&id).await.status, 404);
            assert_eq!(stage.query(&id).await.status, 200);
        }
        _ => return false,
    }
    true
}
