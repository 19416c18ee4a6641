//! The requests that we send: headers, paths and connections. Our key is never shown.

use evolink_receiver::domain::ids::{SubmissionId, TaskId};
use evolink_receiver::evolink::{EvolinkClient, USER_AGENT};
use secrecy::SecretString;
use url::Url;

use super::{KEY, PATIENT, PENDING, client, http, submit};
use crate::support::net::raw_server::{End, RawServer};

fn header<'a>(request: &'a str, name: &str) -> Vec<&'a str> {
    let (head, _) = request.split_once("\r\n\r\n").unwrap();
    let pairs = head.lines().filter_map(|line| line.split_once(": "));
    pairs
        .filter(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
        .collect()
}

#[tokio::test]
async fn a_submit_is_sent_as_documented_with_our_id_as_its_idempotency_key() {
    let server = RawServer::start(http(200, &[], PENDING), End::Close).await;
    submit(&client(&format!("{}/prefix", server.url))).await;
    let request = &server.requests()[0];
    assert!(
        request.starts_with("POST /prefix/v1/images/generations HTTP/1.1\r\n"),
        "{request}"
    );
    assert_eq!(header(request, "authorization"), [format!("Bearer {KEY}")]);
    assert_eq!(header(request, "content-type"), ["application/json"]);
    assert_eq!(header(request, "accept-encoding"), ["identity"]);
    assert_eq!(header(request, "user-agent"), [USER_AGENT]);
    let keys = header(request, "idempotency-key");
    assert_eq!(keys.len(), 1);
    let made_at = keys[0].parse::<SubmissionId>().unwrap().made_at();
    assert_eq!(made_at.as_millis(), 1_757_165_031_007);
    assert!(
        request.ends_with(r#"{"model":"z-image-turbo","prompt":"a cute cat"}"#),
        "{request}"
    );
}

#[tokio::test]
async fn each_submit_has_its_own_connection_and_polls_share_one() {
    let server = RawServer::start(http(200, &["set-cookie: a=b"], PENDING), End::Open).await;
    let client = client(&server.url);
    for _ in 0..3 {
        submit(&client).await;
    }
    assert_eq!(server.connections(), 3);
    let task_id = TaskId::parse("task-unified-1757165031-uyujaw3d").unwrap();
    for _ in 0..3 {
        client.poll(&task_id).await;
    }
    assert_eq!(server.connections(), 4);
    let requests = server.requests();
    assert_eq!(requests.len(), 6);
    assert!(requests[3].starts_with("GET /v1/tasks/task-unified-1757165031-uyujaw3d HTTP/1.1\r\n"));
    assert!(
        requests
            .iter()
            .all(|request| header(request, "cookie").is_empty())
    );
    assert!(
        requests
            .iter()
            .all(|request| header(request, "authorization") == [format!("Bearer {KEY}")])
    );
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_our_key_not_handed_on() {
    let target = RawServer::start(http(200, &[], PENDING), End::Close).await;
    for status in [301, 302, 303, 307, 308] {
        let location = format!("location: {}/v1/images/generations", target.url);
        let server = RawServer::start(http(status, &[&location], ""), End::Close).await;
        let client = client(&server.url);
        submit(&client).await;
        client.poll(&TaskId::parse("t").unwrap()).await;
        let _ = client.credits().await;
        assert_eq!(server.requests().len(), 3);
    }
    assert_eq!(target.connections(), 0);
}

#[tokio::test]
async fn the_key_is_in_nothing_that_is_printed() {
    let mut printed = Vec::new();
    let echo = http(401, &[], KEY);
    for (bytes, end) in [
        (echo, End::Close),
        (Vec::new(), End::Reset),
        (KEY.into(), End::Close),
    ] {
        let server = RawServer::start(bytes, end).await;
        let client = client(&server.url);
        printed.push(format!("{client:?}"));
        printed.push(format!("{:?}", submit(&client).await));
        printed.push(format!(
            "{:?}",
            client.poll(&TaskId::parse("t").unwrap()).await
        ));
        printed.push(match client.credits().await {
            Ok(answer) => format!("{answer:?}"),
            Err(error) => format!("{error} {error:?}"),
        });
    }
    assert!(
        printed.iter().all(|text| !text.contains(KEY)),
        "{printed:#?}"
    );
}

#[tokio::test]
async fn a_key_or_url_that_cannot_be_used_is_refused_without_showing_it() {
    let cases = [
        ("https://api.evolink.ai", "sk-secret\nx"),
        ("https://api.evolink.ai", ""),
        ("https://user:sk-secret@api.evolink.ai", "k"),
        ("https://api.evolink.ai/?k=sk-secret", "k"),
        ("ftp://sk-secret.example", "k"),
        ("data:sk-secret", "k"),
    ];
    for (url, key) in cases {
        let url = Url::parse(url).unwrap();
        let error =
            EvolinkClient::new(url, SecretString::from(key), PATIENT, USER_AGENT).unwrap_err();
        assert!(!format!("{error:?}").contains("sk-secret"), "{error:?}");
    }
}
