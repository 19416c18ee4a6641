//! A client that disconnects while it waits leaves nothing behind: its permit is free at once.

use std::time::Duration;

use super::{SEATS_TAKEN, nobody_waits};
use crate::support::app::TestApp;
use crate::support::app::waiting::{LONG_WAIT, told};
use crate::support::net::raw::RawClient;
use crate::support::until::until;

const ID: &str = "task-unified-1-left";

/// Number of clients at once.
const CLIENTS: usize = 20;

#[tokio::test]
async fn a_disconnect_or_a_half_close_frees_the_permit_at_once() {
    let app = TestApp::start().await;
    told(&app, ID, "processing").await;
    let request =
        format!("GET /v1/tasks/{ID}?wait={LONG_WAIT} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    for half in [false, true] {
        let mut clients = Vec::new();
        for _ in 0..CLIENTS {
            let mut client = RawClient::connect_plain(app.internal).await;
            client.send(&request).await;
            clients.push(client);
        }
        let all = CLIENTS as u64;
        until("all wait", || app.counter(SEATS_TAKEN) == all).await;
        if half {
            for client in &mut clients {
                client.finish_sending().await;
            }
            nobody_waits(&app).await;
            for client in &mut clients {
                assert!(client.is_closed_within(Duration::from_secs(30)).await);
            }
        } else {
            drop(clients);
            nobody_waits(&app).await;
        }
    }
    app.stop().await.0.unwrap();
}

#[tokio::test]
async fn a_connection_that_waited_takes_the_next_request() {
    let app = TestApp::start().await;
    told(&app, ID, "processing").await;
    let request = format!("GET /v1/tasks/{ID}?wait=1 HTTP/1.1\r\nhost: localhost\r\n\r\n");
    let mut client = RawClient::connect_plain(app.internal).await;
    for _ in 0..2 {
        client.send(&request).await;
        let answer = client.read_response().await;
        assert_eq!((answer.status, answer.announces_close()), (200, false));
    }
    app.stop().await.0.unwrap();
}
