//! Tests the storage in a bucket. They need a server: `EVOLINK_RECEIVER_TEST_S3_URL=s3://bucket/prefix` names an
//! existing bucket, and the usual `AWS_…` variables its server. Without it they do nothing.

use object_store::ObjectStoreExt as _;

use super::super::*;
use super::{bytes, kept, listed, read};

/// A storage with a prefix of its own.
async fn opened() -> Option<Storage> {
    let Ok(url) = std::env::var("EVOLINK_RECEIVER_TEST_S3_URL") else {
        eprintln!("skipped: EVOLINK_RECEIVER_TEST_S3_URL is not set");
        return None;
    };
    let url = format!("{url}/{:016x}", fastrand::u64(..));
    let place: Place = url.parse().unwrap();
    Some(Storage::open(&place).await.unwrap())
}

fn later() -> Timestamp {
    Timestamp::from_millis(i64::MAX)
}

#[tokio::test]
async fn a_bucket_keeps_small_and_large_files() {
    let Some(storage) = opened().await else {
        return;
    };
    storage.check().await.unwrap();
    assert!(listed(&storage).await.is_empty());
    let mut digests = Vec::new();
    // In one put; in parts with a rest; in whole parts.
    for length in [3, 12_000_000, 10 * 1024 * 1024] {
        let file = bytes(length);
        let digest = kept(&storage, &file).await;
        assert_eq!(kept(&storage, &file).await, digest);
        assert_eq!(storage.bytes_of(digest).await.unwrap(), length as u64);
        assert_eq!(read(&storage, digest, None).await, file);
        let part = read(&storage, digest, Some(1..u64::MAX)).await;
        assert_eq!(part, file[1..]);
        let outside = storage.read(digest, Some(length as u64..u64::MAX)).await;
        let refused = outside.err();
        assert!(matches!(refused, Some(StorageError::RangeOutside { .. })));
        digests.push(digest);
    }
    let mut found: Vec<_> = listed(&storage)
        .await
        .iter()
        .map(|entry| entry.digest)
        .collect();
    found.sort();
    digests.sort();
    assert_eq!(found, digests);
    assert_eq!(storage.sweep(later()).await.unwrap(), 0, "no drafts");
    for digest in digests {
        storage.delete(digest).await.unwrap();
        storage.delete(digest).await.unwrap();
        let gone = storage.read(digest, None).await.err();
        assert!(matches!(gone, Some(StorageError::NotFound)), "{gone:?}");
    }
    assert!(listed(&storage).await.is_empty());
    assert_eq!(storage.bytes_free().await.unwrap(), None);
}

#[tokio::test]
async fn an_aborted_upload_leaves_nothing() {
    let Some(storage) = opened().await else {
        return;
    };
    let mut writer = storage.writer().await.unwrap();
    writer.write(bytes(12_000_000).into()).await.unwrap();
    assert!(listed(&storage).await.is_empty());
    writer.abort().await;
    assert!(listed(&storage).await.is_empty());
    assert_eq!(storage.sweep(later()).await.unwrap(), 0);
}

#[tokio::test]
async fn a_draft_that_was_completed_and_not_copied_is_swept() {
    let Some(storage) = opened().await else {
        return;
    };
    let Storage::Bucket(bucket) = &storage else {
        return;
    };
    // What a process leaves that is killed before the server has copied its draft.
    let key = bucket.drafts().join("0123456789abcdef.draft");
    bucket.store.put(&key, "whole".into()).await.unwrap();
    assert!(listed(&storage).await.is_empty());
    let long_ago = Timestamp::from_millis(0);
    assert_eq!(storage.sweep(long_ago).await.unwrap(), 0);
    assert_eq!(storage.sweep(later()).await.unwrap(), 1);
    assert_eq!(storage.sweep(later()).await.unwrap(), 0);
}

#[tokio::test]
async fn a_presigned_url_needs_no_key() {
    let Some(storage) = opened().await else {
        return;
    };
    let digest = kept(&storage, b"abc").await;
    let lifetime = Duration::from_mins(1);
    let url = storage.presign(digest, lifetime).await.unwrap().unwrap();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = client.get(url.clone()).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.bytes().await.unwrap(), "abc");
    let mut unsigned = url;
    unsigned.set_query(None);
    let answer = client.get(unsigned).send().await.unwrap();
    assert_eq!(answer.status(), 403);
    storage.delete(digest).await.unwrap();
}
