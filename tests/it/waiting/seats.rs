//! How many requests may wait: three quarters of the connections, and half of those for one API
//! key. Others are refused.

use evolink_receiver::config::{ApiKey, KeyDigest, Scope};

use super::{SEATS_TAKEN, nobody_waits, waiting};
use crate::support::app::TestApp;
use crate::support::app::waiting::{LONG_WAIT, asking, send, told};
use crate::support::described::RequestBuilder;

const ID: &str = "task-unified-1-crowded";

const REFUSED: &str = "evolink_receiver_seats_refused_total";

fn keys(names: &[&str]) -> Vec<ApiKey> {
    let key = |name: &&str| ApiKey::new(name, KeyDigest::of(name), &[Scope::Read, Scope::Submit]);
    names.iter().map(key).collect()
}

fn query(app: &TestApp, key: &str, wait: u64) -> RequestBuilder {
    asking(app, &format!("/v1/tasks/{ID}?wait={wait}")).bearer_auth(key)
}

#[tokio::test]
async fn a_key_may_take_half_of_the_seats_and_all_together_no_more_than_there_are() {
    let app = TestApp::builder()
        .with(|config| {
            config.internal.api_keys = keys(&["first", "second", "third"]);
            config.internal.max_connections = 16;
        })
        .start()
        .await;
    told(&app, ID, "processing").await;
    let mut waits = Vec::new();
    for key in ["first", "second"] {
        for _ in 0..6 {
            waits.push(waiting(&app, query(&app, key, LONG_WAIT)).await);
        }
    }
    for key in ["first", "third"] {
        let refused = send(query(&app, key, 1)).await;
        refused.assert_error(503, "too_many_waiting", None);
        assert_eq!(refused.header("retry-after"), Some("1"));
        assert_eq!(refused.header("connection"), Some("close"));
        send(query(&app, key, 0)).await.assert_told("processing");
    }
    assert_eq!((app.counter(SEATS_TAKEN), app.counter(REFUSED)), (12, 2));
    waits.pop().unwrap().abort();
    waits.pop().unwrap().abort();
    waits.truncate(10);
    let third = loop {
        // It succeeds as soon as the receiver has noticed that a connection is gone.
        let answer = send(query(&app, "third", 1)).await;
        if answer.status == 200 {
            break answer;
        }
        answer.assert_error(503, "too_many_waiting", None);
    };
    assert_eq!(third.state(), "processing");
    send(query(&app, "first", 1))
        .await
        .assert_error(503, "too_many_waiting", None);
    told(&app, ID, "completed").await;
    for waiting in waits {
        waiting.await.unwrap().assert_told("completed");
    }
    // A query for a finished task does not wait.
    send(query(&app, "first", 60))
        .await
        .assert_told("completed");
    nobody_waits(&app).await;
    app.stop().await.0.unwrap();
}
