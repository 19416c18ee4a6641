//! Tests the order in which files are fetched.

use std::time::Duration;

use super::{archived, archiving, complete};
use crate::support::files::{Given, Origin, png};

#[tokio::test]
async fn one_clients_flood_does_not_delay_the_file_of_another() {
    let pause = Duration::from_millis(10);
    let origin =
        Origin::start(move |asked| Given::Slowly(png(asked.path.len() as u64, 3000), pause)).await;
    let builder = archiving().with(|config| config.archive.fetches_at_once = 2);
    let app = builder.start().await;
    for task in 0..10 {
        let urls: Vec<String> = (0..20)
            .map(|n| origin.url(&format!("flood-{task}-{n}")))
            .collect();
        complete(&app, "flood", &format!("task-f{task}"), &urls).await;
    }
    complete(&app, "shop", "task-shop", &[origin.url("shop")]).await;
    archived(&app, "task-shop").await;
    let before = origin.count();
    assert!(
        before < 60,
        "{before} of 201 files were asked for before the one of `shop` was there"
    );
    for task in 0..10 {
        archived(&app, &format!("task-f{task}")).await;
    }
    app.stop().await.0.unwrap();
}

#[tokio::test]
async fn a_file_that_a_client_waits_for_is_fetched_before_all_others() {
    let pause = Duration::from_millis(20);
    let origin =
        Origin::start(move |asked| Given::Slowly(png(asked.path.len() as u64, 3000), pause)).await;
    let builder = archiving().with(|config| config.archive.fetches_at_once = 1);
    let app = builder.start().await;
    for task in 0..20 {
        let url = origin.url(&format!("file-{task}"));
        complete(&app, "web", &format!("task-{task}"), &[url]).await;
    }
    let last = app.request(reqwest::Method::GET, "/v1/tasks/task-19/results/0");
    assert_eq!(last.send().await.unwrap().status(), 200);
    let before = origin.count();
    assert!(
        before < 15,
        "{before} files were asked for before the one that a client waits for"
    );
    app.stop().await.0.unwrap();
}
