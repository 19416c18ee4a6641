//! Tests what a bucket's server is asked, with a server that answers as a test says.

use super::super::*;
use super::later;
use crate::archive::fetch::tests::server::{Asked, Server, Turn};

/// `answer` gets the method in lower case.
async fn opened(
    answer: impl Fn(&str, &Asked) -> String + Send + Sync + 'static,
) -> (Server, Storage) {
    let server = Server::start(move |asked: &Asked| {
        let method = asked.head.split(' ').next().unwrap_or_default();
        vec![Turn::Send(answer(method, asked).into())]
    })
    .await;
    let endpoint = server.base();
    let variables = [
        ("AWS_ENDPOINT_URL", endpoint.as_str()),
        ("AWS_ALLOW_HTTP", "true"),
        ("AWS_ACCESS_KEY_ID", "writer"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
    ];
    let variables = variables.map(|(name, value)| (name.into(), value.into()));
    let bucket = Bucket::open_with(variables, "results", "").unwrap();
    (server, Storage::Bucket(bucket))
}

fn answered(status: &str, length: usize, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n\
        ETag: \"x\"\r\nLast-Modified: Tue, 01 Jan 2030 00:00:00 GMT\r\n\r\n{body}"
    )
}

fn error(status: &str, code: &str) -> String {
    let body = format!("<Error><Code>{code}</Code><Message>no</Message></Error>");
    answered(status, body.len(), &body)
}

#[tokio::test]
async fn a_whole_object_is_asked_for_without_a_range() {
    let (server, storage) = opened(|method, _| match method {
        "head" => answered("200 OK", 3, ""),
        _ => answered("200 OK", 3, "abc"),
    })
    .await;
    let digest = Digest::of(b"abc");
    for range in [None, Some(0..3), Some(0..u64::MAX)] {
        let read = super::read(&storage, digest, range).await;
        assert_eq!(read, b"abc");
    }
    let asked = server.asked();
    assert_eq!(asked.len(), 5);
    assert!(asked.iter().all(|asked| asked.header("range").is_none()));
}

#[tokio::test]
async fn one_object_is_deleted_by_its_name() {
    let (server, storage) = opened(|_, _| answered("204 No Content", 0, "")).await;
    storage.delete(Digest::of(b"abc")).await.unwrap();
    let [asked] = server.asked().try_into().unwrap();
    assert!(asked.head.starts_with("delete /results/ba/"), "{asked:?}");
}

#[tokio::test]
async fn only_an_answer_that_names_no_bucket_means_a_missing_file() {
    // The answer to HEAD has no body, so the server is asked again with GET.
    for (code, is_missing) in [("NoSuchKey", true), ("NoSuchBucket", false)] {
        let (_server, storage) = opened(move |method, _| match method {
            "head" => answered("404 Not Found", 0, ""),
            _ => error("404 Not Found", code),
        })
        .await;
        let digest = Digest::of(b"abc");
        let mut failed = vec![
            storage.read(digest, None).await.err(),
            storage.read(digest, Some(1..2)).await.err(),
            storage.bytes_of(digest).await.err(),
        ];
        if !is_missing {
            failed.push(storage.delete(digest).await.err());
            failed.push(storage.delete_older(digest, later()).await.err());
            failed.push(storage.identity().await.err());
        }
        for (n, failed) in failed.into_iter().enumerate() {
            let found = matches!(failed, Some(StorageError::NotFound));
            assert_eq!(found, is_missing, "{code}, {n}: {failed:?}");
            assert!(failed.is_some(), "{code}, {n}");
        }
    }
}

#[tokio::test]
async fn an_identity_is_set_on_a_server_that_knows_no_conditions() {
    let (server, storage) = opened(|method, asked| match method {
        "get" => error("404 Not Found", "NoSuchKey"),
        _ if asked.header("if-none-match").is_some() => {
            error("501 Not Implemented", "NotImplemented")
        }
        _ => answered("200 OK", 0, ""),
    })
    .await;
    assert!(storage.set_identity("first").await.unwrap());
    let last = server.asked().pop().unwrap();
    assert!(last.head.starts_with("put /results/.evolink-receiver"));
}
