//! Hundreds of slow and silent clients, with the default limits. A valid callback still gets its
//! 200, and each of the other connections is closed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::support::app::callback_body::completed;
use crate::support::app::desk::Desk;
use crate::support::net::raw::RawClient;
use crate::support::net::tls::client_config;

/// Clients of each kind. Together they stay below the connection cap of one address.
const CLIENTS: usize = 500;

/// Far above every deadline: reaching it means that the server never closes them.
const PATIENCE: Duration = Duration::from_mins(2);

#[derive(Clone, Copy)]
enum Kind {
    /// Sends its body at one byte a second.
    Trickles,
    /// Sends nothing after the handshake.
    Silent,
    /// Never completes the handshake.
    NoHandshake,
}

/// Keeps the connection until the server closes it.
async fn suffer(kind: Kind, mut client: RawClient, token: String, answered_408: Arc<AtomicUsize>) {
    if matches!(kind, Kind::Trickles) {
        let head =
            format!("POST /callbacks/{token} HTTP/1.1\r\nHost: a\r\nContent-Length: 200\r\n\r\n");
        client.send_if_open(head).await;
        for _ in 0..PATIENCE.as_secs() {
            client.send_if_open("x").await;
            match timeout(Duration::from_secs(1), client.try_read_response()).await {
                Ok(Some(answer)) => {
                    // All clients use one token, which may have only a few unfinished requests.
                    assert!(matches!(answer.status, 408 | 503), "{answer:?}");
                    if answer.status == 408 {
                        answered_408.fetch_add(1, Ordering::SeqCst);
                    }
                    break;
                }
                Ok(None) => break,
                Err(_) => {}
            }
        }
    }
    client.time_until_closed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn slow_and_silent_clients_by_the_hundred_keep_no_callback_waiting_and_are_all_closed() {
    let mut desk = Desk::open().await;
    let victim = desk.bound().await;
    let before = desk.rows().await;
    let config = client_config(&desk.app.certificate_pem);
    let answered_408 = Arc::new(AtomicUsize::new(0));
    let mut sufferers = JoinSet::new();
    for _ in 0..CLIENTS {
        for kind in [Kind::NoHandshake, Kind::Trickles, Kind::Silent] {
            let (address, config, token) = (desk.app.public, config.clone(), victim.token.clone());
            let answered_408 = Arc::clone(&answered_408);
            sufferers.spawn(async move {
                let connected = if matches!(kind, Kind::NoHandshake) {
                    Ok(RawClient::connect_plain(address).await)
                } else {
                    RawClient::try_connect_tls(address, config, "localhost").await
                };
                // On a slow machine, a handshake among fifteen hundred may itself time out.
                if let Ok(client) = connected {
                    suffer(kind, client, token, answered_408).await;
                }
            });
        }
    }
    let standing = desk.app.standing_token("shop");
    let mut good = 0;
    let all_closed = async { while sufferers.join_next().await.transpose().unwrap().is_some() {} };
    tokio::pin!(all_closed);
    let mut is_closed = false;
    for _ in 0..PATIENCE.as_secs() * 5 {
        let id = format!("task-unified-1757165031-good{good:04}");
        let result = desk.app.callback_result(&standing, completed(&id)).await;
        assert_eq!(result, "recorded", "good callback {good}");
        good += 1;
        tokio::select! {
            () = &mut all_closed => is_closed = true,
            () = sleep(Duration::from_millis(200)) => {}
        }
        if is_closed {
            break;
        }
    }
    assert!(is_closed, "some are still open");
    assert!(
        answered_408.load(Ordering::SeqCst) > 0,
        "no slow client got its 408"
    );
    let after = desk.rows().await;
    assert_eq!(
        after.tasks - before.tasks,
        good,
        "the good ones alone were recorded"
    );
    assert_eq!(after.quarantine, before.quarantine);
    desk.assert_well("the slow ones").await;
}
