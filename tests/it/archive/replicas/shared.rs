//! Two receivers that run.

use std::sync::Arc;

use evolink_receiver::config::{ByteSize, Network};
use reqwest::Method;
use serde_json::Value;
use tokio::sync::Notify;

use crate::archive::{archived, complete};
use crate::support::app::answer::get;
use crate::support::app::{TestApp, TestAppBuilder};
use crate::support::files::{Given, Origin, png};
use crate::support::store::TestStore;
use crate::support::until::until;

const TASKS: usize = 20;

/// Both keep their files in one folder.
fn builder() -> Option<TestAppBuilder> {
    let builder = TestAppBuilder::new(tempfile::tempdir().unwrap(), TestStore::on_postgres()?);
    Some(builder.with(|config| {
        config.archive.enabled = true;
        config.archive.allow_networks = vec![Network::loopback()];
        config.archive.min_free = ByteSize::bytes(0);
    }))
}

/// Has replica `first` fetch a file, half of which its host gives at once and the rest when it is
/// notified. Only then the second replica starts.
async fn halfway(file: &[u8]) -> Option<(TestApp, TestApp, Origin, Arc<Notify>)> {
    let builder = builder()?;
    let (given, gate) = (file.to_vec(), Arc::new(Notify::new()));
    let opened = Arc::clone(&gate);
    let origin = Origin::start(move |_| Given::Gated(given.clone(), Arc::clone(&opened))).await;
    let first = builder.clone().start().await;
    complete(&first, "web", "task-1", &[origin.url("a.png")]).await;
    until("the first replica fetches", || origin.count() == 1).await;
    let second = builder.start().await;
    Some((first, second, origin, gate))
}

#[tokio::test]
async fn each_file_is_fetched_by_one_replica() {
    let Some(builder) = builder() else {
        return;
    };
    let pause = std::time::Duration::from_millis(20);
    let origin =
        Origin::start(move |asked| Given::Slowly(png(asked.path.len() as u64, 2000), pause)).await;
    let apps = [builder.clone().start().await, builder.start().await];
    for task in 0..TASKS {
        let urls: Vec<String> = (0..3)
            .map(|n| origin.url(&format!("file-{task}-{n}")))
            .collect();
        complete(&apps[task % 2], "web", &format!("task-{task}"), &urls).await;
    }
    for task in 0..TASKS {
        for app in &apps {
            let shown = archived(app, &format!("task-{task}")).await;
            assert!(shown.iter().all(|file| file["archived_at"].is_string()));
        }
    }
    let mut paths: Vec<String> = origin.asked().into_iter().map(|asked| asked.path).collect();
    assert_eq!(paths.len(), TASKS * 3);
    paths.sort();
    paths.dedup();
    assert_eq!(paths.len(), TASKS * 3, "each once");
    let series = "evolink_receiver_result_fetches_total{result=\"archived\"}";
    let counts = apps.each_ref().map(|app| app.counter(series));
    println!("archived by the two: {counts:?}");
    assert_eq!(counts.iter().sum::<u64>(), TASKS as u64 * 3);
    for app in apps {
        app.stop().await.0.unwrap();
    }
}

#[tokio::test]
async fn a_client_of_one_replica_gets_the_file_that_the_other_one_fetches() {
    let file = png(1, 300_000);
    let Some((first, second, origin, gate)) = halfway(&file).await else {
        return;
    };
    let path = "/v1/tasks/task-1/results/0";
    let asking = second.request(Method::GET, path).send();
    let waiting = second.get("/v1/tasks/task-1?wait=50&for=archived");
    let head = second
        .request(Method::GET, path)
        .header("range", "bytes=0-9");
    let opening = async {
        // The second replica looks for due files, and finds that this one has a holder.
        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
        assert_eq!(origin.count(), 1);
        gate.notify_one();
    };
    let (got, (status, task), part, ()) = tokio::join!(asking, waiting, head.send(), opening);
    assert_eq!(got.unwrap().bytes().await.unwrap(), file);
    assert_eq!(part.unwrap().bytes().await.unwrap(), file[..10]);
    assert_eq!(status, 200);
    let shown = &task["receiver"]["results"][0];
    assert!(shown["archived_at"].is_string(), "{task}");
    assert_eq!(origin.count(), 1);
    first.stop().await.0.unwrap();
    second.stop().await.0.unwrap();
}

#[tokio::test]
async fn a_copy_that_was_deleted_is_noticed_by_any_replica_and_fetched_again() {
    let Some(builder) = builder() else {
        return;
    };
    let file = png(1, 1000);
    let given = file.clone();
    let origin = Origin::start(move |_| Given::File(given.clone())).await;
    let apps = [builder.clone().start().await, builder.start().await];
    complete(&apps[0], "web", "task-1", &[origin.url("a.png")]).await;
    let shown = archived(&apps[1], "task-1").await;
    let sha256 = shown[0]["sha256"].as_str().unwrap();
    let folder = apps[0].folder().join("results");
    let copy = folder.join(&sha256[..2]).join(&sha256[2..]);
    for app in &apps {
        std::fs::remove_file(&copy).unwrap();
        let path = "/v1/tasks/task-1/results/0";
        get(app, path)
            .await
            .assert_error(503, "not_archived", None, "at first");
        let again = app.request(Method::GET, path).send().await.unwrap();
        assert_eq!(again.bytes().await.unwrap(), file);
        let shown = archived(app, "task-1").await;
        assert_eq!(shown[0]["error"], Value::Null);
        assert!(copy.exists());
    }
    assert_eq!(origin.count(), 3);
    for app in apps {
        app.stop().await.0.unwrap();
    }
}
