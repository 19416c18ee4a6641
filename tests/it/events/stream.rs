//! The log as a stream: what it sends, where it begins, and that it stays open until one side ends
//! it.

use std::pin::pin;
use std::time::Duration;

use tokio::time::sleep;

use super::{log, post};
use crate::support::app::TestApp;
use crate::support::app::answer::get;
use crate::support::events::reader::SseReader;
use crate::support::events::seen::Seen;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_brings_the_same_events_as_the_pages() {
    let app = TestApp::start().await;
    post(&app, 0..5, "processing").await;
    let mut all = SseReader::open(app.internal, "after=0", None).await;
    let mut newest = SseReader::open(app.internal, "", None).await;
    let mut failed = SseReader::open(app.internal, "types=task.failed", None).await;
    let mut of_task = SseReader::open(app.internal, "task=task-3&after=0", None).await;
    let mut resumed = SseReader::open(app.internal, "after=1", Some(3)).await;
    post(&app, 0..5, "failed").await;
    let logged = log(&app).await;
    assert_eq!(logged.len(), 10);
    assert_eq!(all.take(10).await, logged);
    assert_eq!(newest.take(5).await, logged[5..]);
    assert_eq!(failed.take(5).await, logged[5..]);
    assert_eq!(resumed.take(7).await, logged[3..]);
    let of_three: Vec<Seen> = logged
        .iter()
        .filter(|event| event.task_id == "task-3")
        .cloned()
        .collect();
    assert_eq!(of_task.take(2).await, of_three);
    let page = get(&app, "/v1/events?after=9").await;
    let last = all.last_data.as_deref().unwrap();
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(last).unwrap(),
        page.body["data"][0]
    );
    // When the service stops, streams end with a complete body.
    let (ended, ()) = tokio::join!(app.stop(), async {
        assert!(all.ended().await, "the end is the end of the body");
    });
    ended.0.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_is_one_line_of_data_however_the_body_was_written() {
    let app = TestApp::start().await;
    let token = app.standing_token("shop");
    let body = "{\n \"id\": \"task-0\",\r\n \"status\": \"processing\", \"nested\": {\n\n \"a\": [1,\r\n2]}}";
    assert_eq!(app.callback_result(&token, body).await, "recorded");
    let mut reader = SseReader::open(app.internal, "after=0", None).await;
    let seen = reader.take(1).await;
    assert_eq!(
        (seen[0].id.seq, seen[0].kind.as_str()),
        (1, "task.processing")
    );
    app.stop().await.0.unwrap();
}

/// A client that is cut off before its first event still knows its position.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_says_at_once_where_it_begins() {
    let app = TestApp::start().await;
    let mut empty = SseReader::open(app.internal, "", None).await;
    assert_eq!(empty.comment().await, 0);
    post(&app, 0..5, "processing").await;
    let mut reader = SseReader::open(app.internal, "", None).await;
    assert_eq!((reader.begins, reader.comment().await), (5, 5));
    let place = reader.begins;
    drop(reader);
    post(&app, 5..7, "processing").await;
    let mut resumed = SseReader::open(app.internal, "", Some(place)).await;
    assert_eq!(resumed.comment().await, 5);
    assert_eq!(resumed.take(2).await, log(&app).await[5..]);
    drop((empty, resumed));
    app.stop().await.0.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_without_events_gets_a_heartbeat() {
    let app = TestApp::start().await;
    let mut reader = SseReader::open(app.internal, "", None).await;
    assert_eq!([reader.comment().await, reader.comment().await], [0, 0]);
    drop(reader);
    app.stop().await.0.unwrap();
}

/// A stream whose filter matches nothing of a busy log is not silent either.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_whose_filter_matches_rarely_gets_a_heartbeat() {
    let app = TestApp::start().await;
    let mut reader = SseReader::open(app.internal, "types=task.failed", None).await;
    assert_eq!(reader.comment().await, 0);
    let mut busy = 0..1000;
    let place = {
        let mut beat = pin!(reader.comment());
        loop {
            tokio::select! {
                place = &mut beat => break place,
                () = sleep(Duration::from_millis(300)) => {}
            }
            let number = busy.next().expect("it is heard of in time");
            post(&app, number..number + 1, "processing").await;
        }
    };
    assert!(place > 3, "it is at {place} of {busy:?}");
    drop(reader);
    app.stop().await.0.unwrap();
}
