//! The main job of the archive, end to end, with the simulator's pictures.

use evolink_receiver::archive;
use evolink_receiver::simulator::Options;
use reqwest::Method;
use serde_json::Value;

use super::archiving;
use crate::support::app::answer::get;

#[tokio::test]
async fn the_url_of_a_picture_works_right_after_the_submit() {
    let (app, _simulator) = archiving().start_with_simulator(Options::default()).await;
    let task = app.submitted("a cute cat [sim:duration=300ms]").await;
    let id = task["id"].as_str().unwrap();
    let picture = app
        .request(Method::GET, &format!("/v1/tasks/{id}/results/0?wait=50"))
        .send()
        .await
        .unwrap();
    assert_eq!(picture.status(), 200);
    let headers = picture.headers().clone();
    let bytes = picture.bytes().await.unwrap();
    let sha256 = archive::Digest::of(&bytes).to_string();
    assert_eq!(headers["x-content-type-options"], "nosniff");
    assert_eq!(
        headers["content-security-policy"],
        "default-src 'none'; sandbox"
    );

    let done = app
        .get(&format!("/v1/tasks/{id}?wait=30&for=archived"))
        .await
        .1;
    let again = app
        .request(Method::GET, &format!("/v1/tasks/{id}/results/0"))
        .send()
        .await
        .unwrap();
    assert_eq!(again.headers()["etag"], format!("\"{sha256}\""));
    let result = &done["receiver"]["results"][0];
    assert_eq!(result["sha256"], sha256, "{done}");
    assert_eq!(result["bytes"], bytes.len());
    assert_eq!(result["origin_url"], done["results"][0]);
    assert_eq!(
        result["content_type"],
        headers["content-type"].to_str().unwrap()
    );
    assert!(
        result["width"].as_u64().unwrap() > 0 && result["archived_at"].is_string(),
        "{result}"
    );
    assert_eq!(result["error"], Value::Null);
    let submission = done["receiver"]["submission_id"].as_str().unwrap();
    let url = format!("http://{}/v1/tasks/{submission}/results/0", app.internal);
    assert_eq!(result["url"], url);

    let (_, feed) = app.get("/v1/events").await;
    let types = feed["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["type"].as_str().unwrap());
    let types: Vec<&str> = types.filter(|kind| *kind != "task.processing").collect();
    assert_eq!(types, ["task.submitted", "task.completed", "task.archived"]);
    let archived = feed["data"].as_array().unwrap().last().unwrap();
    assert_eq!(archived["task"]["receiver"]["results"][0]["sha256"], sha256);
    app.stop().await.0.unwrap();
}

#[tokio::test]
async fn a_picture_is_not_there_before_its_task_is_completed_nor_after_it_failed() {
    let (app, _simulator) = archiving().start_with_simulator(Options::default()).await;
    let slow = app.submitted("a slow cat [sim:duration=20s]").await;
    let id = slow["id"].as_str().unwrap();
    let early = get(&app, &format!("/v1/tasks/{id}/results/0")).await;
    early.assert_error(409, "not_completed", None, "at once");
    assert_eq!(early.header("retry-after"), Some("2"));
    let early = get(&app, &format!("/v1/tasks/{id}/results/0?wait=1")).await;
    early.assert_error(409, "not_completed", None, "after a wait");
    let failing = app
        .submitted("a sad cat [sim:fail] [sim:duration=100ms]")
        .await;
    let id = failing["id"].as_str().unwrap();
    let failed = get(&app, &format!("/v1/tasks/{id}/results/0?wait=50")).await;
    failed.assert_error(410, "task_failed", None, "a task that fails");
    for (path, status, code, param) in [
        (
            format!("/v1/tasks/{id}/results/64"),
            400,
            "invalid_request",
            Some("n"),
        ),
        (
            format!("/v1/tasks/{id}/results/00"),
            400,
            "invalid_request",
            Some("n"),
        ),
        (
            format!("/v1/tasks/{id}/results/0?for=archived"),
            400,
            "invalid_request",
            Some("for"),
        ),
        (
            "/v1/tasks/unknown/results/0".to_owned(),
            404,
            "task_not_found",
            None,
        ),
    ] {
        get(&app, &path)
            .await
            .assert_error(status, code, param, &path);
    }
    app.stop().await.0.unwrap();
}
