//! Tests the storage in a bucket of a server that works.

use object_store::ObjectStoreExt as _;
use object_store::signer::{SignedUrlOptions, Signer as _};
use reqwest::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use reqwest::{Client, Method, Response};
use tokio::time::{Instant, sleep};

use super::super::*;
use super::server::S3;
use super::{SHOWN, bytes, kept, later, listed, read};
use crate::archive::Hasher;

#[tokio::test]
async fn a_bucket_keeps_small_and_large_files() {
    let Some(s3) = S3::find() else {
        return;
    };
    let storage = s3.storage().await;
    storage.check().await.unwrap();
    assert!(listed(&storage).await.is_empty());
    let mut digests = Vec::new();
    // One put, parts with a rest, and whole parts.
    for length in [3, 12_000_000, 10 * 1024 * 1024] {
        let file = bytes(length);
        let digest = kept(&storage, &file).await;
        assert_eq!(kept(&storage, &file).await, digest);
        assert_eq!(storage.bytes_of(digest).await.unwrap(), length as u64);
        assert_eq!(read(&storage, digest, None).await, file);
        for range in [0..1, 1..u64::MAX, length as u64 - 1..length as u64] {
            let part = read(&storage, digest, Some(range.clone())).await;
            let end = length.min(usize::try_from(range.end).unwrap());
            assert_eq!(part, file[usize::try_from(range.start).unwrap()..end]);
        }
        for outside in [1..1, length as u64..u64::MAX] {
            let refused = storage.read(digest, Some(outside)).await.err();
            assert!(matches!(refused, Some(StorageError::RangeOutside { .. })));
        }
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
        let gone = storage.read(digest, Some(0..1)).await.err();
        assert!(matches!(gone, Some(StorageError::NotFound)), "{gone:?}");
        let gone = storage.bytes_of(digest).await.err();
        assert!(matches!(gone, Some(StorageError::NotFound)), "{gone:?}");
    }
    assert!(listed(&storage).await.is_empty());
    assert_eq!(storage.bytes_free().await.unwrap(), None);
}

#[tokio::test]
async fn a_large_file_goes_through_little_memory() {
    const CHUNKS: usize = 1024;
    let Some(s3) = S3::find() else {
        return;
    };
    let storage = s3.storage().await;
    kept(&storage, &bytes(6_000_000)).await;
    let before = memory_peak_kib();
    // 64 MiB in which each part is different.
    let chunk = |n: usize| Bytes::from(n.to_be_bytes().repeat(64 * 1024 / size_of::<usize>()));
    let mut writer = storage.writer().await.unwrap();
    for n in 0..CHUNKS {
        writer.write(chunk(n)).await.unwrap();
    }
    let stored = writer.finish().await.unwrap();
    assert_eq!(stored.bytes, 64 * 1024 * 1024);
    let mut reading = storage.read(stored.sha256, None).await.unwrap();
    let mut hasher = Hasher::default();
    while let Some(chunk) = reading.chunks.next().await {
        hasher.update(&chunk.unwrap());
    }
    assert_eq!(hasher.finish(), stored.sha256);
    let grown = memory_peak_kib() - before;
    eprintln!("the peak of the memory has grown by {grown} KiB");
    assert!(grown < 16 * 1024, "{grown} KiB");
    storage.delete(stored.sha256).await.unwrap();
}

/// Each test is a process of its own, so this is the memory of one test.
fn memory_peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = peak.unwrap().trim_end_matches("kB").trim();
    peak.parse().unwrap()
}

#[tokio::test]
async fn a_bucket_without_a_prefix_is_a_storage() {
    let Some(s3) = S3::find() else {
        return;
    };
    // Other tests have their files and drafts in the same bucket, below prefixes.
    kept(&s3.storage().await, b"below a prefix").await;
    let place: Place = format!("s3://{}", s3.bucket()).parse().unwrap();
    let storage = Storage::open(&place, 0).await.unwrap();
    let digest = kept(&storage, b"at the top").await;
    let found = listed(&storage).await;
    let digests: Vec<_> = found.iter().map(|entry| entry.digest).collect();
    assert!(digests.contains(&digest), "{digests:?}");
    assert!(!digests.contains(&Digest::of(b"below a prefix")));
    let long_ago = Timestamp::from_millis(0);
    assert_eq!(storage.sweep(long_ago).await.unwrap(), 0);
    storage.delete(digest).await.unwrap();
}

#[tokio::test]
async fn an_aborted_upload_leaves_nothing() {
    let Some(s3) = S3::find() else {
        return;
    };
    let storage = s3.storage().await;
    let mut writer = storage.writer().await.unwrap();
    writer.write(bytes(12_000_000).into()).await.unwrap();
    assert!(listed(&storage).await.is_empty());
    assert!(has_uploads(&storage).await);
    writer.abort().await;
    assert!(listed(&storage).await.is_empty());
    assert!(!has_uploads(&storage).await);
    assert_eq!(storage.sweep(later()).await.unwrap(), 0);
}

#[tokio::test]
async fn an_upload_that_nobody_waits_for_is_aborted() {
    let Some(s3) = S3::find() else {
        return;
    };
    let storage = s3.storage().await;
    let mut writer = storage.writer().await.unwrap();
    writer.write(bytes(12_000_000).into()).await.unwrap();
    drop(writer);
    let dropped_at = Instant::now();
    while has_uploads(&storage).await {
        let waited = dropped_at.elapsed();
        assert!(waited < Duration::from_secs(10), "its parts stay");
        sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(storage.sweep(later()).await.unwrap(), 0);
}

/// Whether the server has an upload in parts of this storage.
async fn has_uploads(storage: &Storage) -> bool {
    let Storage::Bucket(bucket) = storage else {
        return false;
    };
    let of_bucket = SignedUrlOptions::new().with_query([("uploads", "")]);
    let lifetime = Duration::from_mins(1);
    let root = object_store::path::Path::default();
    let signed = bucket
        .store
        .signed_url_opts(Method::GET, &root, lifetime, &of_bucket)
        .await;
    let answer = opened(&signed.unwrap()).await;
    assert_eq!(answer.status(), 200);
    let answer = answer.text().await.unwrap();
    assert!(answer.contains("ListMultipartUploadsResult"), "{answer}");
    answer.contains(bucket.drafts().as_ref())
}

#[tokio::test]
async fn a_draft_that_was_completed_and_not_copied_is_swept() {
    let Some(s3) = S3::find() else {
        return;
    };
    let storage = s3.storage().await;
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

/// Opens a URL with a client that has no credentials.
async fn opened(url: &Url) -> Response {
    let client = Client::builder().no_proxy().build().unwrap();
    client.get(url.clone()).send().await.unwrap()
}

#[tokio::test]
async fn a_presigned_url_needs_no_key_until_it_expires() {
    let Some(s3) = S3::find() else {
        return;
    };
    let storage = s3.storage().await;
    let digest = kept(&storage, b"abc").await;
    let lifetime = Duration::from_secs(3);
    let signed_at = Instant::now();
    let signed = storage.presign(digest, lifetime, SHOWN).await;
    let url = signed.unwrap().unwrap();
    let answer = opened(&url).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()[CONTENT_TYPE], SHOWN.content_type);
    let disposition = &answer.headers()[CONTENT_DISPOSITION];
    assert_eq!(disposition, SHOWN.content_disposition);
    assert_eq!(answer.bytes().await.unwrap(), "abc");
    let mut unsigned = url.clone();
    unsigned.set_query(None);
    assert_eq!(opened(&unsigned).await.status(), 403);
    while opened(&url).await.status() != 403 {
        assert!(
            signed_at.elapsed() < Duration::from_secs(20),
            "never expires"
        );
        sleep(Duration::from_millis(200)).await;
    }
    // Signatures count whole seconds.
    assert!(signed_at.elapsed() + Duration::from_secs(1) > lifetime);
    storage.delete(digest).await.unwrap();
}

#[tokio::test]
async fn a_browser_is_shown_the_type_of_a_file() {
    let Some(s3) = S3::find() else {
        return;
    };
    let storage = s3.storage().await;
    for length in [100, 6_000_000] {
        let mut writer = storage.writer().await.unwrap();
        writer.set_content_type("image/png");
        writer.write(bytes(length).into()).await.unwrap();
        let digest = writer.finish().await.unwrap().sha256;
        let lifetime = Duration::from_mins(1);
        let Storage::Bucket(bucket) = &storage else {
            return;
        };
        let key = bucket.key(digest);
        let signed = bucket.store.signed_url(Method::GET, &key, lifetime).await;
        let answer = opened(&signed.unwrap()).await;
        assert_eq!(answer.headers()[CONTENT_TYPE], "image/png");
        storage.delete(digest).await.unwrap();
    }
}
