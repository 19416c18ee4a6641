//! A client that disconnects right after sending leaves a callback that is recorded completely or
//! not at all. A client that only closes its sending side gets its answer.

use std::time::Duration;

use futures_util::future::join_all;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;
use tokio_rustls::TlsConnector;

use crate::support::app::callback_body::completed;
use crate::support::app::desk::{Desk, Submit};
use crate::support::net::tls::client_config;
use crate::support::until::until;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Leave {
    /// Closes the connection: the server sees the end of the data.
    Fin,
    /// Resets the connection: data that the server has not read yet is lost.
    Rst,
    /// Closes its sending side and waits for the answer.
    Half,
}

fn rounds() -> usize {
    let long =
        std::env::var_os("EVOLINK_RECEIVER_TEST_LONG").is_some_and(|value| !value.is_empty());
    if long { 1600 } else { 60 }
}

/// Sends the first `sent` bytes and disconnects. Returns the answer if the client waited for one.
async fn send_and_leave(desk: &Desk, bytes: &[u8], leave: Leave, pause: Duration) -> String {
    let tcp = TcpStream::connect(desk.app.public).await.unwrap();
    tcp.set_nodelay(true).unwrap();
    let connector = TlsConnector::from(std::sync::Arc::new(client_config(
        &desk.app.certificate_pem,
    )));
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = connector.connect(name, tcp).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    stream.flush().await.unwrap();
    sleep(pause).await;
    match leave {
        Leave::Fin => {
            let _ = stream.shutdown().await;
            String::new()
        }
        Leave::Rst => {
            let (tcp, _) = stream.into_inner();
            tcp.set_zero_linger().unwrap();
            String::new()
        }
        Leave::Half => {
            stream.shutdown().await.unwrap();
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer).await;
            String::from_utf8(answer).unwrap()
        }
    }
}

fn request(submit: &Submit) -> Vec<u8> {
    let body = completed(&submit.task_id);
    let head = format!(
        "POST /callbacks/{} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n",
        submit.token,
        body.len()
    );
    [head, body].concat().into_bytes()
}

/// Whether the outcome of `submit` is recorded. Panics if only a part of it is.
async fn is_recorded(desk: &mut Desk, submit: &Submit) -> bool {
    let sql = "SELECT state = 'completed', outcome_at IS NOT NULL,
            (SELECT count(*) FROM observation WHERE id / 1024 = task.seq AND source = 'callback'),
            (SELECT count(*) FROM event WHERE task_seq = task.seq AND type = 'task.completed')
        FROM task WHERE submission_id = $1";
    let row: (bool, bool, i64, i64) = desk.database.row(sql, &[submit.bind()]).await;
    assert!(
        row == (true, true, 1, 1) || row == (false, false, 0, 0),
        "half: {row:?}"
    );
    row.0
}

/// Waits until every callback that has begun is finished.
async fn settle(desk: &Desk) {
    let app = &desk.app;
    until("the end of every callback", || {
        app.callbacks_ended() == app.callbacks_received()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn i7_a_client_that_hangs_up_leaves_a_whole_callback_or_none() {
    let mut desk = Desk::open().await;
    let mut submits = Vec::new();
    for _ in 0..rounds() {
        submits.push(desk.bound().await);
    }
    for (n, chunk) in submits.chunks(12).enumerate() {
        let leaving = chunk.iter().enumerate().map(|(at, submit)| {
            let (bytes, desk) = (request(submit), &desk);
            let leave = [Leave::Fin, Leave::Rst][at % 2];
            // One client of each kind sends everything; the others stop at a random byte.
            let sent = if at < 2 {
                bytes.len()
            } else {
                fastrand::usize(1..bytes.len())
            };
            let pause = Duration::from_micros(u64::try_from(n * 700 % 15_000).unwrap());
            async move { send_and_leave(desk, &bytes[..sent], leave, pause).await }
        });
        join_all(leaving).await;
    }
    settle(&desk).await;
    // The recorder works in order: once a later callback is recorded, so are all before it.
    desk.assert_well("hang-ups").await;
    let mut recorded = 0;
    for (n, submit) in submits.iter().enumerate() {
        if is_recorded(&mut desk, submit).await {
            recorded += 1;
            assert!(n % 12 < 2, "a cut callback was believed");
        }
        let result = desk
            .app
            .callback_result(&submit.token, completed(&submit.task_id))
            .await;
        assert!(
            ["recorded", "duplicate"].contains(&result.as_str()),
            "sent again: {result}"
        );
    }
    assert!(
        recorded > 0,
        "a FIN behind a whole callback does not undo it"
    );
    desk.assert_well("all sent again").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn f2_h29_a_client_that_closes_its_sending_side_gets_its_200() {
    let mut desk = Desk::open().await;
    for _ in 0..20 {
        let submit = desk.bound().await;
        let answer = send_and_leave(&desk, &request(&submit), Leave::Half, Duration::ZERO).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.ends_with(r#"{"result":"recorded"}"#), "{answer}");
        assert!(is_recorded(&mut desk, &submit).await);
    }
    desk.assert_well("half-closes").await;
}
