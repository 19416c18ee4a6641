//! The result files.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{Catcher, Stage, eventually};

/// The path of the first result of a finished task.
async fn result_path(stage: &Stage, id: &str) -> String {
    eventually(|| stage.simulator.stats().tasks_running == 0).await;
    let task = stage.query(id).await.json();
    let url = url::Url::parse(task["results"][0].as_str().unwrap()).unwrap();
    url.path().to_owned()
}

async fn fetch(stage: &Stage, path: &str) -> reqwest::Result<(u16, String, Vec<u8>)> {
    let url = format!("{}{path}", stage.simulator.base_url());
    let response = stage.client.get(url).send().await?;
    let content_type = response.headers().get("content-type");
    let content_type = content_type
        .map_or("", |value| value.to_str().unwrap())
        .to_owned();
    Ok((
        response.status().as_u16(),
        content_type,
        response.bytes().await?.to_vec(),
    ))
}

/// Width and height from the header of a lossless WebP file.
fn webp_size(bytes: &[u8]) -> (u32, u32) {
    assert_eq!(
        (&bytes[..4], &bytes[8..16]),
        (&b"RIFF"[..], &b"WEBPVP8L"[..])
    );
    assert_eq!(bytes[20], 0x2f);
    let bits = u32::from_le_bytes(bytes[21..25].try_into().unwrap());
    ((bits & 0x3fff) + 1, (bits >> 14 & 0x3fff) + 1)
}

#[tokio::test]
async fn a_result_is_a_webp_of_the_requested_size_and_the_same_for_the_same_seed() {
    let stage = Stage::start().await;
    let sizes = [
        (json!("16:9"), (1280, 720)),
        (json!("376x1536"), (376, 1536)),
        (json!(null), (1024, 1024)),
    ];
    for (size, expected) in sizes {
        let mut body = stage.request("a cat");
        body["size"] = size;
        body["seed"] = json!(7);
        let mut files = Vec::new();
        for _ in 0..2 {
            let id = stage.send(stage.post(&body)).await.json()["id"]
                .as_str()
                .unwrap()
                .to_owned();
            let path = result_path(&stage, &id).await;
            let (status, content_type, bytes) = fetch(&stage, &path).await.unwrap();
            assert_eq!((status, content_type.as_str()), (200, "image/webp"));
            assert_eq!(webp_size(&bytes), expected);
            files.push(bytes);
        }
        assert_eq!(files[0], files[1]);
    }
}

#[tokio::test]
async fn a_result_exists_from_the_end_of_its_task_until_it_expires() {
    let stage = Stage::with(Catcher::start().await, |options| {
        options.result_ttl = Duration::ZERO;
        options.public_url = Some("http://media.example.com/".to_owned());
    })
    .await;
    let id = stage.task("[sim:duration=10m]").await;
    let early = fetch(&stage, &format!("/files/{id}/0.webp")).await.unwrap();
    assert_eq!(early.0, 404);
    let id = stage.task("a cat").await;
    eventually(|| stage.simulator.stats().tasks_running == 1).await;
    let task = stage.query(&id).await.json();
    assert_eq!(
        task["results"][0],
        format!("http://media.example.com/files/{id}/0.webp")
    );
    let expired = fetch(&stage, &format!("/files/{id}/0.webp")).await.unwrap();
    assert_eq!(expired.0, 404);
    assert_eq!(
        fetch(&stage, "/files/task-unified-1-abcdefgh/0.webp")
            .await
            .unwrap()
            .0,
        404
    );
}

/// Checks the magic prompts about files. Returns false if `name` is not one of them.
pub async fn fetched(stage: &Stage, name: &str) -> bool {
    let prompt = match name {
        "file-slow" => "[sim:file-slow=2s,file-faults=1]".to_owned(),
        "file-faults" => "[sim:file-404,file-faults=1]".to_owned(),
        _ if name.starts_with("file-") => format!("[sim:{name},file-faults=1]"),
        _ => return false,
    };
    let id = stage.task(&prompt).await;
    let path = result_path(stage, &id).await;
    let started = Instant::now();
    let first = fetch(stage, &path).await;
    let first_took = started.elapsed();
    let (status, content_type, bytes) = fetch(stage, &path).await.unwrap();
    assert_eq!((status, content_type.as_str()), (200, "image/webp"));
    match name {
        "file-slow" => {
            assert_eq!(first.unwrap().2, bytes);
            assert!(first_took >= Duration::from_secs(2));
        }
        "file-403" => assert_eq!(first.unwrap().0, 403),
        "file-404" | "file-faults" => assert_eq!(first.unwrap().0, 404),
        "file-410" => assert_eq!(first.unwrap().0, 410),
        "file-truncated" => assert!(first.is_err()),
        "file-wrong-type" => {
            let (status, content_type, body) = first.unwrap();
            assert_eq!((status, content_type.as_str()), (200, "image/webp"));
            assert!(body.starts_with(b"<!DOCTYPE html>"));
        }
        "file-redirect" => {
            assert_eq!(first.unwrap().0, 307);
            let stored = path.replace("/files/", "/storage/");
            assert_eq!(fetch(stage, &stored).await.unwrap().2, bytes);
        }
        _ => return false,
    }
    true
}
