//! The recovery drill on PostgreSQL: its own tools copy the database, and our commands copy the
//! keys and secrets.

use std::process::Command;

use tokio::task::spawn_blocking;
use url::Url;

use super::{at, events, fail, newest, succeed};
use crate::support::process::Place;
use crate::support::process::load::Load;
use crate::support::store::database::{Bind, Database};
use crate::support::store::postgres::machine::binaries;

/// Runs one of PostgreSQL's own programs.
async fn tool(name: &str, args: Vec<String>) {
    let mut command = Command::new(binaries().unwrap().join(name));
    command.args(args);
    let output = spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: {stderr}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_restored_from_a_dump_begins_a_new_epoch() {
    let Some(place) = Place::on_postgres() else {
        return;
    };
    let (load, folder) = (Load::new(), tempfile::tempdir().unwrap());
    let receiver = place.start().await;
    let running = load.start(&receiver);
    running.reached(100).await;
    let before = load.acknowledged();
    let (keys, dump) = (at(folder.path(), "keys"), at(folder.path(), "dump.sql"));
    let said = succeed(&place, &["backup", &keys]).await;
    assert!(said.contains("pg_dump"), "{said}");
    let url = place.store().url().to_owned();
    tool(
        "pg_dump",
        vec!["--file".to_owned(), dump.clone(), url.clone()],
    )
    .await;
    running.reached(running.count() + 60).await;
    running.stop().await;
    let read = newest(&receiver).await;
    let running = fail(&place, &["restore", &keys], 75).await;
    assert!(running.contains("in use"), "{running}");
    receiver.stop().await;

    // Restore into another database, and configure its name in the service.
    let mut copy = Url::parse(&url).unwrap();
    let name = format!("{}_restored", copy.path().trim_start_matches('/'));
    copy.set_path("/postgres");
    let all = Database::connect(copy.as_str()).await;
    all.execute(&format!("CREATE DATABASE {name} TEMPLATE template0"))
        .await;
    copy.set_path(&name);
    let args = [
        "--quiet",
        "--set",
        "ON_ERROR_STOP=1",
        "--file",
        &dump,
        copy.as_str(),
    ];
    tool("psql", args.map(str::to_owned).to_vec()).await;
    place.configure(&url, copy.as_str());
    let said = succeed(&place, &["restore", &keys]).await;
    assert!(said.contains("begins the epoch"), "{said}");
    let receiver = place.start().await;
    let first = events(&receiver, "after=0&limit=1").await;
    let first = first["data"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(first[..8], *read.epoch.as_str());
    let (status, body) = receiver
        .get(&format!("/v1/events?after={read}"))
        .await
        .unwrap();
    assert_eq!(status, 410, "{body}");
    let resume = body["error"]["resume_after"].as_str().unwrap().to_owned();
    let running = load.start(&receiver);
    running.reached(40).await;
    running.stop().await;
    let page = events(&receiver, &format!("after={resume}&limit=1")).await;
    let id = page["data"][0]["id"].as_str().unwrap();
    assert_eq!(id[..8], resume[..8], "what is new has the new epoch");
    let database = Database::connect(copy.as_str()).await;
    for callback in &before {
        let sql = "SELECT count(*) FROM task WHERE task_id = $1";
        let bind = Bind::Text(&callback.task_id);
        assert_eq!(database.value::<i64>(sql, &[bind]).await, 1, "{callback:?}");
    }
    database.close().await;
    receiver.stop().await;
    all.execute(&format!("DROP DATABASE {name} WITH (FORCE)"))
        .await;
}
