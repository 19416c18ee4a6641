//! Framing of callbacks (rows H1, H2, …), end to end over TLS: what the serve loop and the handler
//! answer together, and what is recorded.

use serde_json::json;

use crate::support::app::callback_body::{body, completed};
use crate::support::app::desk::Answer::{self, Duplicate, Q400, Recorded, Refused};
use crate::support::app::desk::{Desk, Submit};
use std::time::Duration;

/// Far above any deadline: reaching it means that the server never closes.
const SOON: Duration = Duration::from_secs(30);

/// In `head`, `{t}` stands for the token and `{n}` for the length of the body that follows.
struct Row {
    name: &'static str,
    head: String,
    body: Form,
    answers: &'static [Answer],
    then: Then,
}

#[derive(Clone, Copy, PartialEq)]
enum Then {
    Open,
    Closed,
}
use Then::{Closed, Open};

/// How a valid body is sent on the wire.
#[derive(Clone, Copy)]
enum Form {
    Whole,
    Nothing,
    CutTo(usize),
    Chunked(usize, &'static str, &'static str),
    Behind(&'static [u8]),
}
use Form::{Behind, Chunked, CutTo, Nothing, Whole};

impl Form {
    fn of(self, body: &[u8]) -> Vec<u8> {
        match self {
            Whole => body.to_vec(),
            Nothing => Vec::new(),
            CutTo(length) => body[..length].to_vec(),
            Behind(start) => [start, body].concat(),
            Chunked(length, extension, line_end) => {
                let chunks = body.chunks(length).flat_map(|chunk| {
                    let line = format!("{:x}{extension}{line_end}", chunk.len());
                    [line.as_bytes(), chunk, b"\r\n"].concat()
                });
                chunks.chain(*b"0\r\n\r\n").collect()
            }
        }
    }
}

fn row(
    name: &'static str,
    headers: &str,
    body: Form,
    answers: &'static [Answer],
    then: Then,
) -> Row {
    let head = format!("POST /callbacks/{{t}} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n");
    Row {
        name,
        head,
        body,
        answers,
        then,
    }
}

/// A row with the whole body, its length, and one or more other headers.
fn with(name: &'static str, headers: &str, answers: &'static [Answer], then: Then) -> Row {
    row(
        name,
        &format!("Content-Length: {{n}}\r\n{headers}"),
        Whole,
        answers,
        then,
    )
}

fn headless(name: &'static str, head: &str, answers: &'static [Answer], then: Then) -> Row {
    let head = head.to_owned();
    Row {
        name,
        head,
        body: Whole,
        answers,
        then,
    }
}

#[rustfmt::skip] // One row per line, so that it reads as a table.
fn rows() -> Vec<Row> {
    const CHUNKED: &str = "Transfer-Encoding: chunked\r\n";
    const BOTH: &str = "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n";
    const ALL: Form = Chunked(4096, "", "\r\n");
    vec![
        with("H1", "", &[Recorded], Open),
        row("H1 chunked", CHUNKED, ALL, &[Recorded], Closed),
        row("H2", BOTH, ALL, &[Recorded], Closed),
        with("H3", "Content-Length: 3\r\n", &[Refused(400)], Closed),
        row("H4 +3", "Content-Length: +3\r\n", Whole, &[Refused(400)], Closed),
        row("H4 -1", "Content-Length: -1\r\n", Whole, &[Refused(400)], Closed),
        row("H4 0x3", "Content-Length: 0x3\r\n", Whole, &[Refused(400)], Closed),
        row("H4 3 3", "Content-Length: 3 3\r\n", Whole, &[Refused(400)], Closed),
        row("H5", "Content-Length: 3000000\r\n", Nothing, &[Refused(413)], Closed),
        row("H6", "Content-Length: {n}\r\n", CutTo(9), &[Refused(408)], Closed),
        row("H7", "Content-Length: 20\r\n", Whole, &[Q400, Refused(400)], Closed),
        row("H8", "", Nothing, &[Q400], Open),
        row("H9", "Transfer-Encoding: gzip, chunked\r\n", ALL, &[Refused(400)], Closed),
        row("H10", CHUNKED, Chunked(64, ";a=b", "\r\n"), &[Recorded], Closed),
        row("H11", CHUNKED, Chunked(4096, "", "\n"), &[Refused(400)], Closed),
        row("H12", CHUNKED, Chunked(1, "", "\r\n"), &[Recorded], Closed),
        headless("H13", "POST /callbacks/{t} HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", &[Refused(400)], Closed),
        headless("H14 none", "POST /callbacks/{t} HTTP/1.1\r\nContent-Length: {n}\r\n\r\n", &[Refused(400)], Closed),
        with("H14 two", "Host: localhost\r\n", &[Refused(400)], Closed),
        headless("H15 other", "POST /callbacks/{t} HTTP/1.1\r\nHost: other.example\r\nContent-Length: {n}\r\n\r\n", &[Recorded], Open),
        headless("H15 address", "POST /callbacks/{t} HTTP/1.1\r\nHost: 192.0.2.1\r\nContent-Length: {n}\r\n\r\n", &[Recorded], Open),
        headless("H15 port", "POST /callbacks/{t} HTTP/1.1\r\nHost: localhost:99\r\nContent-Length: {n}\r\n\r\n", &[Recorded], Open),
        headless("H16", "POST /callbacks/{t} HTTP/1.1\nHost: a\nContent-Length: {n}\n\n", &[Recorded], Open),
        with("H17", "X-A: a\0b\r\n", &[Refused(400)], Closed),
        with("H19", &format!("X-A: {}\r\n", "a".repeat(64 * 1024)), &[Refused(431)], Closed),
        headless("H21", "POST https://other.example/callbacks/{t} HTTP/1.1\r\nHost: a\r\nContent-Length: {n}\r\n\r\n", &[Recorded], Open),
        headless("H22", "POST /callbacks/{t} HTTP/1.0\r\nContent-Length: {n}\r\n\r\n", &[Recorded], Closed),
        row("H25 no body", "Expect: 100-continue\r\nContent-Length: {n}\r\n", Nothing, &[Refused(100), Refused(408)], Closed),
        with("H26 h2c", "Connection: upgrade\r\nUpgrade: h2c\r\n", &[Recorded], Open),
        with("H26 websocket", "Connection: upgrade\r\nUpgrade: websocket\r\n", &[Recorded], Open),
        row("H27", "Content-Encoding: gzip\r\nContent-Length: 3\r\n", Behind(b"\x1f\x8b\x08"), &[Refused(415)], Closed),
        with("H28 none", "", &[Recorded], Open),
        with("H28 text", "Content-Type: text/plain\r\n", &[Recorded], Open),
        with("H28 form", "Content-Type: application/x-www-form-urlencoded\r\n", &[Recorded], Open),
        with("H28 utf-16", "Content-Type: application/json; charset=utf-16\r\n", &[Recorded], Open),
        with("H28 two", "Content-Type: application/json\r\nContent-Type: text/html\r\n", &[Recorded], Open),
        with("H32 close", "Connection: close\r\n", &[Recorded], Closed),
        with("H32 keep-alive, close", "Connection: keep-alive, close\r\n", &[Recorded], Closed),
        with("H32 TE", "Connection: TE\r\nTE: trailers\r\n", &[Recorded], Open),
        with("H34", "X-Forwarded-For: 127.0.0.1\r\nX-HTTP-Method-Override: DELETE\r\nX-Original-URL: /metrics\r\n", &[Recorded], Open),
        headless("H36", "\r\n\r\n\r\n\r\n\r\nPOST /callbacks/{t} HTTP/1.1\r\nHost: a\r\nContent-Length: {n}\r\n\r\n", &[Recorded], Open),
    ]
}

#[tokio::test]
async fn every_row_of_table_h_gets_its_answer_and_is_written_or_not() {
    let mut desk =
        Desk::open_with(|config| config.public.body_timeout = Duration::from_secs(1)).await;
    for row in rows() {
        let submit = desk.bound().await;
        let good = completed(&submit.task_id).into_bytes();
        let head = row
            .head
            .replace("{t}", &submit.token)
            .replace("{n}", &good.len().to_string());
        let bytes = [head.into_bytes(), row.body.of(&good)].concat();
        exchange(&mut desk, row.name, &bytes, row.answers, row.then).await;
    }
}

/// Sends `bytes` on a new connection and compares the answers and the recorded rows with `answers`.
async fn exchange(desk: &mut Desk, name: &str, bytes: &[u8], answers: &[Answer], then: Then) {
    let before = desk.rows().await;
    let mut client = desk.app.raw_public().await;
    client.send_if_open(bytes).await;
    for answer in answers {
        let response = client.read_response().await;
        assert_eq!(response.status, answer.status(), "{name}: {response:?}");
        if *answer == Recorded {
            assert_eq!(response.text(), r#"{"result":"recorded"}"#, "{name}");
        }
    }
    match then {
        Closed => assert!(client.is_closed_within(SOON).await, "{name}: closed"),
        Open => {
            client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
            assert_eq!(client.read_response().await.status, 404, "{name}: open");
        }
    }
    desk.check_rows(name, before, answers).await;
    desk.assert_well(name).await;
}

#[tokio::test]
async fn h1_h24_the_same_body_in_another_framing_is_the_same_callback() {
    let mut desk = Desk::open().await;
    let submit = desk.bound().await;
    let (good, before) = (completed(&submit.task_id), desk.rows().await);
    let whole = post(&submit, "", good.as_bytes());
    let mut client = desk.app.raw_public().await;
    client.send([whole.clone(), whole.clone()].concat()).await;
    assert_eq!(
        client.read_response().await.text(),
        r#"{"result":"recorded"}"#
    );
    assert_eq!(
        client.read_response().await.text(),
        r#"{"result":"duplicate"}"#
    );
    let chunks = Chunked(7, "", "\r\n").of(good.as_bytes());
    let head = format!(
        "POST /callbacks/{} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
        submit.token
    );
    client.send([head.into_bytes(), chunks].concat()).await;
    assert_eq!(
        client.read_response().await.text(),
        r#"{"result":"duplicate"}"#
    );
    desk.check_rows("H24", before, &[Recorded, Duplicate, Duplicate])
        .await;
    desk.assert_well("H24").await;
}

#[tokio::test]
async fn h18_a_header_that_is_not_text_does_no_harm_even_in_quarantine() {
    let mut desk = Desk::open().await;
    let submit = desk.bound().await;
    for (sent, expected) in [
        ("not JSON", Q400),
        (completed(&submit.task_id).as_str(), Recorded),
    ] {
        let head = format!(
            "POST /callbacks/{} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\nX-A: ",
            submit.token,
            sent.len()
        );
        let bytes = [head.as_bytes(), b"v\xffv\r\n\r\n", sent.as_bytes()].concat();
        exchange(&mut desk, "H18", &bytes, &[expected], Open).await;
    }
}

#[tokio::test]
async fn h25_a_client_that_waits_for_100_is_recorded() {
    let desk = Desk::open().await;
    let submit = desk.unbound().await;
    let good = completed(&submit.task_id);
    let mut client = desk.app.raw_public().await;
    let expect = format!("Expect: 100-continue\r\nContent-Length: {}\r\n", good.len());
    client.send(head(&submit, &expect)).await;
    assert_eq!(client.read_response().await.status, 100);
    client.send(&good).await;
    assert_eq!(
        client.read_response().await.text(),
        r#"{"result":"recorded"}"#
    );
    desk.assert_well("H25").await;
}

#[tokio::test]
async fn h33_a_body_of_262144_bytes_is_judged_and_one_byte_more_is_not() {
    let mut desk = Desk::open().await;
    let submit = desk.bound().await;
    let bare = body(&submit.task_id, "processing", &json!({"pad": ""})).len();
    for (length, expected, then) in [(262_145, Refused(413), Closed), (262_144, Recorded, Open)] {
        let sent = body(
            &submit.task_id,
            "processing",
            &json!({"pad": "x".repeat(length - bare)}),
        );
        assert_eq!(sent.len(), length);
        let whole = post(&submit, "", sent.as_bytes());
        exchange(&mut desk, "H33", &whole, &[expected], then).await;
        if expected != Recorded {
            let chunks = Chunked(65_536, "", "\r\n").of(sent.as_bytes());
            let chunked = [
                head(&submit, "Transfer-Encoding: chunked\r\n").into_bytes(),
                chunks,
            ]
            .concat();
            exchange(&mut desk, "H33 chunked", &chunked, &[expected], then).await;
        }
    }
}

fn head(submit: &Submit, headers: &str) -> String {
    format!(
        "POST /callbacks/{} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n",
        submit.token
    )
}

fn post(submit: &Submit, headers: &str, body: &[u8]) -> Vec<u8> {
    let headers = format!("Content-Length: {}\r\n{headers}", body.len());
    [head(submit, &headers).as_bytes(), body].concat()
}
