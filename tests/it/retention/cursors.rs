//! Readers of the log whose next events were deleted learn it. None of them misses events without
//! knowing.

use evolink_receiver::store::StoreError;
use evolink_receiver::store::read::events::{EventFilter, PageSize};
use reqwest::Method;
use serde_json::Value;

use super::Desk;
use crate::support::app::TestApp;
use crate::support::app::answer::get;
use crate::support::app::callback_body::completed;

const SIZE: PageSize = PageSize {
    events: 10,
    bytes: 100_000,
};

#[tokio::test]
async fn a_page_is_refused_if_its_events_were_deleted_after_its_position_was_checked() {
    let mut desk = Desk::open().await;
    for name in ["a", "b", "c"] {
        desk.failed(name).await;
        desk.deliver(name).await;
    }
    let log = desk.store.log_state().await.unwrap();
    assert_eq!(log.oldest, Some(1));
    desk.live(32).await;
    for filter in [
        EventFilter::default(),
        EventFilter {
            task: Some(1),
            ..EventFilter::default()
        },
    ] {
        let page = desk.store.list_events(&filter, &log.epochs, 0, SIZE).await;
        let error = page.unwrap_err();
        assert!(
            matches!(error, StoreError::EventsDeleted { oldest: 6 }),
            "{error:?}"
        );
        // Every event after the fifth is there.
        let page = desk.store.list_events(&filter, &log.epochs, 5, SIZE).await;
        assert!(page.is_ok());
    }
    desk.close().await;
}

#[tokio::test]
async fn a_cursor_behind_the_oldest_event_is_410_and_says_where_to_resume() {
    let app = TestApp::start().await;
    let token = app.standing_token("web");
    for n in 1..=5 {
        let recorded = app.callback(&token, completed(&format!("task-{n}"))).await;
        assert_eq!(recorded.0, 200);
    }
    let database = app.store.connect().await;
    let newest: i64 = database.value("SELECT max(seq) FROM event", &[]).await;
    let first = get(&app, "/v1/events?limit=1").await.body["data"][0].clone();
    database.execute("DELETE FROM event WHERE seq <= 3").await;
    for after in ["0", "1", "2", first["id"].as_str().unwrap()] {
        let path = format!("/v1/events?after={after}");
        let expired = get(&app, &path).await;
        expired.assert_error(410, "cursor_expired", Some("after"), after);
        let resume = expired.body["error"]["resume_after"].as_str().unwrap();
        assert!(resume.ends_with("-3"), "{resume}");
        let rest = get(&app, &format!("/v1/events?after={resume}")).await;
        let rest = rest.body["data"].as_array().unwrap().clone();
        let numbers: Vec<i64> = rest
            .iter()
            .map(|event| event["seq"].as_i64().unwrap())
            .collect();
        assert_eq!(numbers, (4..=newest).collect::<Vec<_>>());
        // A stream is refused in the same way.
        let stream = app
            .request(Method::GET, "/v1/events")
            .header("accept", "text/event-stream")
            .header("last-event-id", after)
            .send()
            .await
            .unwrap();
        assert_eq!(stream.status(), 410, "{after}");
        let body: Value = stream.json().await.unwrap();
        assert_eq!(body["error"]["resume_after"], resume);
    }
    // Without a position, the feed begins at the oldest event.
    let all = get(&app, "/v1/events").await;
    assert_eq!(all.body["data"][0]["seq"], 4);
    app.stop().await.0.unwrap();
}
