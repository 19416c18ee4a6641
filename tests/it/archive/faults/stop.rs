//! A stop in the middle of a fetch.

use std::sync::Arc;

use serde_json::json;
use tokio::sync::Notify;

use crate::support::app::callback_body::completed_with;
use crate::support::files::{Given, Origin, archive_in, kept, png};
use crate::support::process::Place;
use crate::support::until::until;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_deletes_the_drafts_of_its_fetches() {
    let never = Arc::new(Notify::new());
    let origin = Origin::start(move |_| Given::Gated(png(1, 800_000), Arc::clone(&never))).await;
    let place = Place::new();
    archive_in(&place, r#"allow_networks = ["127.0.0.0/8"]"#);
    let receiver = place.start().await;
    let urls = ["a.png", "b.png", "c.png"].map(|name| origin.url(name));
    let body = completed_with("task-1", &json!(urls));
    assert_eq!(receiver.callback(body).await, Some((200, None)));
    let drafts = || kept::drafts(&place.data().join("results"));
    until("the fetches are under way", || drafts().len() == 3).await;
    receiver.stop().await;
    assert_eq!(drafts(), Vec::<std::path::PathBuf>::new());
}
