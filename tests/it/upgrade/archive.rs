//! Tasks that were completed before there was an archive keep their outcome, and have no files.

use serde_json::{Value, json};

use super::content::Content;
use super::released::make_and_upgrade;
use crate::support::files::archive_in;
use crate::support::process::Place;

/// The newest schema without result files.
const BEFORE: i64 = 5;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_from_before_the_archive_have_no_files() {
    let place = Place::new();
    make_and_upgrade(place.store(), 1, BEFORE).await;
    place.make_ring();
    let before = Content::of(place.store()).await;
    assert!(before.rows() > 1000, "there is something to keep");
    archive_in(&place, r#"allowed_hosts = ["files.evolink.ai"]"#);
    let receiver = place.start().await;
    before.assert_kept(place.store()).await;
    let (status, task) = receiver
        .get("/v1/tasks/task-unified-1-first?wait=1&for=archived")
        .await
        .unwrap();
    assert_eq!((status, &task["status"]), (200, &json!("completed")));
    let origin = "https://files.evolink.ai/1.webp";
    assert_eq!(task["results"], json!([origin]));
    let shown = task["receiver"]["results"].as_array().unwrap();
    assert_eq!(shown.len(), 1);
    assert_eq!(shown[0]["origin_url"], origin);
    for member in ["url", "sha256", "archived_at", "error"] {
        assert_eq!(shown[0][member], Value::Null, "{member}");
    }
    for path in [
        "/v1/tasks/task-unified-1-first/results/0",
        "/v1/tasks/task-unified-1-first/results/0?wait=1",
        "/v1/tasks/task-many-101/results/0",
    ] {
        let (status, answer) = receiver.get(path).await.unwrap();
        let code = &answer["error"]["code"];
        assert_eq!((status, code), (404, &json!("result_not_found")), "{path}");
    }
    // The files of new tasks are archived: of this one, no fetch can succeed.
    let new = r#"{"id":"task-new","status":"completed","results":["http://files.evolink.ai/a"]}"#;
    let answer = receiver.callback(new.to_owned()).await;
    assert_eq!(answer, Some((200, None)), "{}", receiver.log_tail());
    let (status, new) = receiver
        .get("/v1/tasks/task-new?wait=50&for=archived")
        .await
        .unwrap();
    let error = new["receiver"]["results"][0]["error"].as_str();
    assert!(status == 200 && error.is_some(), "{new}");
    receiver.stop().await;
}
