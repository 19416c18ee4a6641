//! Unfinished requests with one token. Behind a proxy the holder of one callback URL has the same
//! address as EvoLink, so only the token distinguishes the two.

use crate::support::app::callback_body::completed;
use crate::support::app::desk::Desk;
use crate::support::net::raw::RawClient;

/// Unfinished requests that one submission's token may have.
const SLOTS: usize = 8;

/// A request whose body is never complete.
async fn begin_unfinished(desk: &Desk, token: &str) -> RawClient {
    let mut client = desk.app.raw_public().await;
    let head =
        format!("POST /callbacks/{token} HTTP/1.1\r\nHost: a\r\nContent-Length: 200\r\n\r\n{{");
    client.send(head).await;
    client
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_token_has_few_unfinished_requests_and_other_tokens_are_not_affected() {
    let desk = Desk::open().await;
    let (holder, honest) = (desk.bound().await, desk.bound().await);
    let mut unfinished = Vec::new();
    for _ in 0..SLOTS {
        unfinished.push(begin_unfinished(&desk, &holder.token).await);
    }
    // A request that gets 503 was beyond the slots, and its connection is closed.
    let mut refused = 0;
    for _ in 0..SLOTS {
        let mut client = begin_unfinished(&desk, &holder.token).await;
        let answer = client.read_response().await;
        assert!(matches!(answer.status, 408 | 503), "{answer:?}");
        if answer.status == 503 {
            assert_eq!(answer.header("retry-after"), Some("1"));
            assert!(answer.announces_close(), "{answer:?}");
            refused += 1;
        }
    }
    assert!(refused > 0, "each unfinished request got a slot");
    let counted = "evolink_receiver_callbacks_refused_total{reason=\"too_many_unfinished\"}";
    assert_eq!(desk.app.counter(counted), refused);
    let result = desk
        .app
        .callback_result(&honest.token, completed(&honest.task_id))
        .await;
    assert_eq!(result, "recorded");
    for mut client in unfinished {
        assert!(matches!(client.read_response().await.status, 408 | 503));
    }
    // The slots are free again.
    let result = desk
        .app
        .callback_result(&holder.token, completed(&holder.task_id))
        .await;
    assert_eq!(result, "recorded");
    desk.assert_well("unfinished requests").await;
}

#[tokio::test]
async fn a_body_that_comes_behind_its_head_is_recorded_while_the_token_has_a_free_slot() {
    let desk = Desk::open().await;
    let submit = desk.bound().await;
    let mut client = desk.app.raw_public().await;
    let body = completed(&submit.task_id);
    let head = format!(
        "POST /callbacks/{} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n",
        submit.token,
        body.len()
    );
    client.send(head).await;
    client.send(&body[..10]).await;
    tokio::task::yield_now().await;
    client.send(&body[10..]).await;
    let answer = client.read_response().await;
    assert_eq!(
        (answer.status, answer.text()),
        (200, r#"{"result":"recorded"}"#)
    );
}
