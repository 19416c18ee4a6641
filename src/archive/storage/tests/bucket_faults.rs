//! Tests the storage in a bucket of a server that fails, or that refuses.

use super::super::*;
use super::proxy::{Fault, Proxy};
use super::server::S3;
use super::{bytes, kept, later, listed, read};

/// Small, so that tests of silence are quick. Retries take it some times more.
const SILENCE_MAX: &str = "500ms";

/// For all other tests: a server on a busy machine may be silent for a while.
const SILENCE_ALLOWED: &str = "1m";

const LENGTH: usize = 12_000_000;

/// A storage behind a proxy that fails.
async fn behind(s3: &S3, fault: Fault) -> (Proxy, Storage) {
    behind_with(s3, fault, SILENCE_ALLOWED).await
}

async fn behind_with(s3: &S3, fault: Fault, silence_max: &str) -> (Proxy, Storage) {
    let proxy = Proxy::start(S3::address(), fault).await;
    let endpoint = format!("http://{}", proxy.address());
    let storage = s3.storage_with(&[
        ("AWS_ENDPOINT_URL", &endpoint),
        ("AWS_READ_TIMEOUT", silence_max),
    ]);
    (proxy, storage)
}

async fn write(storage: &Storage, file: &[u8]) -> Result<Stored, StorageError> {
    let mut writer = storage.writer().await?;
    for chunk in file.chunks(100_000) {
        let written = writer.write(Bytes::copy_from_slice(chunk)).await;
        if let Err(error) = written {
            writer.abort().await;
            return Err(error);
        }
    }
    writer.finish().await
}

/// Returns what was read before the error.
async fn read_to_error(storage: &Storage, digest: Digest) -> (Vec<u8>, StorageError) {
    let mut reading = storage.read(digest, None).await.unwrap();
    let mut all = Vec::new();
    while let Some(chunk) = reading.chunks.next().await {
        match chunk {
            Ok(chunk) => all.extend_from_slice(&chunk),
            Err(error) => return (all, error),
        }
    }
    panic!("the file ended after {} bytes", all.len());
}

#[tokio::test]
async fn a_server_that_dies_during_an_upload_keeps_nothing() {
    let Some(s3) = S3::find() else {
        return;
    };
    // During the put of a small file, the second part of a large one, and its rest.
    for (length, after) in [
        (1_000_000, 500_000),
        (LENGTH, 8_000_000),
        (LENGTH, 11_000_000),
    ] {
        let (mut proxy, storage) = behind(&s3, Fault::KilledAfterSent(after)).await;
        let failed = write(&storage, &bytes(length)).await.unwrap_err();
        assert!(matches!(failed, StorageError::Bucket { .. }), "{failed}");
        proxy.restart().await;
        assert!(listed(&storage).await.is_empty());
        assert_eq!(storage.sweep(later()).await.unwrap(), 0);
        let digest = kept(&storage, &bytes(length)).await;
        assert_eq!(read(&storage, digest, None).await, bytes(length));
        storage.delete(digest).await.unwrap();
    }
}

#[tokio::test]
async fn a_server_that_dies_during_a_read_is_an_error_and_no_end() {
    let Some(s3) = S3::find() else {
        return;
    };
    let digest = kept(&s3.storage().await, &bytes(LENGTH)).await;
    let (mut proxy, storage) = behind(&s3, Fault::KilledAfterReceived(5_000_000)).await;
    let (got, failed) = read_to_error(&storage, digest).await;
    assert!(got.len() > 4_000_000 && got.len() < LENGTH);
    assert_eq!(got, bytes(LENGTH)[..got.len()]);
    assert!(matches!(failed, StorageError::Bucket { .. }), "{failed}");
    let failed = storage.read(digest, None).await.err();
    assert!(matches!(failed, Some(StorageError::Bucket { .. })));
    proxy.restart().await;
    assert_eq!(read(&storage, digest, None).await, bytes(LENGTH));
}

#[tokio::test]
async fn a_read_goes_on_after_a_server_restarts_at_once() {
    let Some(s3) = S3::find() else {
        return;
    };
    let digest = kept(&s3.storage().await, &bytes(LENGTH)).await;
    let (mut proxy, storage) = behind(&s3, Fault::KilledAfterReceived(5_000_000)).await;
    let restarted = async {
        proxy.until_killed().await;
        proxy.restart().await;
        proxy
    };
    let (whole, _proxy) = tokio::join!(read(&storage, digest, None), restarted);
    assert_eq!(whole, bytes(LENGTH));
}

#[tokio::test]
async fn a_silent_server_is_not_waited_for() {
    let Some(s3) = S3::find() else {
        return;
    };
    let digest = kept(&s3.storage().await, &bytes(LENGTH)).await;
    let (_proxy, storage) =
        behind_with(&s3, Fault::SilentAfterReceived(5_000_000), SILENCE_MAX).await;
    let (_, failed) = read_to_error(&storage, digest).await;
    assert!(matches!(failed, StorageError::Bucket { .. }), "{failed}");
    let (_proxy, storage) = behind_with(&s3, Fault::SilentAfterSent(5_000_000), SILENCE_MAX).await;
    let failed = write(&storage, &bytes(LENGTH + 1)).await.unwrap_err();
    assert!(matches!(failed, StorageError::Bucket { .. }), "{failed}");
    assert_eq!(listed(&s3.storage().await).await.len(), 1);
}

#[tokio::test]
async fn a_slow_server_is_waited_for_while_it_sends() {
    let Some(s3) = S3::find() else {
        return;
    };
    // The whole file takes longer than the longest silence.
    let pause = Duration::from_millis(50);
    let (_proxy, storage) = behind_with(&s3, Fault::Slow(pause), SILENCE_MAX).await;
    let digest = kept(&s3.storage().await, &bytes(2_000_000)).await;
    assert_eq!(read(&storage, digest, None).await, bytes(2_000_000));
}

#[tokio::test]
async fn credentials_that_are_wrong_are_refused_by_the_check() {
    let Some(s3) = S3::find() else {
        return;
    };
    let digest = kept(&s3.storage().await, b"abc").await;
    let storage = s3.storage_with(&[("AWS_SECRET_ACCESS_KEY", "wrong")]);
    let failed = storage.check().await.unwrap_err().to_string();
    assert!(
        failed.starts_with("could not write to the bucket"),
        "{failed}"
    );
    assert!(
        failed.contains("answered SignatureDoesNotMatch: "),
        "{failed}"
    );
    // Not taken for a file that is gone.
    let failed = storage.read(digest, None).await.err();
    assert!(matches!(failed, Some(StorageError::Bucket { .. })));
    let failed = storage.delete(digest).await;
    assert!(matches!(failed, Err(StorageError::Bucket { .. })));
}

#[tokio::test]
async fn a_bucket_that_cannot_be_written_is_refused_by_the_check() {
    let Some(s3) = S3::find() else {
        return;
    };
    let digest = kept(&s3.storage().await, b"abc").await;
    let (id, secret) = S3::reader();
    let storage = s3.storage_with(&[
        ("AWS_ACCESS_KEY_ID", &id),
        ("AWS_SECRET_ACCESS_KEY", &secret),
    ]);
    assert_eq!(read(&storage, digest, None).await, b"abc");
    let failed = storage.check().await.unwrap_err().to_string();
    assert!(
        failed.starts_with("could not write to the bucket"),
        "{failed}"
    );
    assert!(failed.contains("answered AccessDenied: "), "{failed}");
    assert!(!failed.contains(['\n', '<']), "{failed}");
    let failed = write(&storage, &bytes(LENGTH)).await;
    assert!(matches!(failed, Err(StorageError::Bucket { .. })));
}

#[tokio::test]
async fn a_bucket_that_does_not_exist_is_no_missing_file() {
    let Some(s3) = S3::find() else {
        return;
    };
    let storage = s3.storage_in("no-such-bucket", &[]);
    let failed = storage.check().await.unwrap_err().to_string();
    assert!(failed.contains("answered NoSuchBucket: "), "{failed}");
    let failed = write(&storage, &bytes(LENGTH)).await;
    assert!(matches!(failed, Err(StorageError::Bucket { .. })));
    let digest = Digest::of(b"abc");
    let failed = [
        storage.read(digest, None).await.err(),
        storage.read(digest, Some(0..1)).await.err(),
        storage.bytes_of(digest).await.err(),
        storage.delete_older(digest, later()).await.err(),
        storage.identity().await.err(),
        storage.is_empty().await.err(),
    ];
    for (n, failed) in failed.into_iter().enumerate() {
        let is_bucket = matches!(failed, Some(StorageError::Bucket { .. }));
        assert!(is_bucket, "{n}: {failed:?}");
    }
    // Some servers say that an object of no bucket is deleted.
    let deleted = storage.delete(digest).await;
    assert!(!matches!(deleted, Err(StorageError::NotFound)));
}

#[tokio::test]
async fn a_file_with_a_hole_cannot_be_finished() {
    let Some(s3) = S3::find() else {
        return;
    };
    // One write fails or is cancelled, and the caller goes on all the same.
    for is_cancelled in [false, true] {
        let (mut proxy, storage) = if is_cancelled {
            behind(&s3, Fault::SilentAfterSent(6_000_000)).await
        } else {
            behind(&s3, Fault::KilledAfterSent(6_000_000)).await
        };
        let mut writer = storage.writer().await.unwrap();
        writer.write(bytes(5_500_000).into()).await.unwrap();
        let second = writer.write(bytes(5_000_000).into());
        if is_cancelled {
            let waited = tokio::time::timeout(Duration::from_millis(200), second).await;
            assert!(waited.is_err());
        } else {
            second.await.unwrap_err();
        }
        proxy.restart().await;
        let third = writer.write(bytes(1000).into()).await;
        assert!(matches!(third, Err(StorageError::Bucket { .. })));
        let failed = writer.finish().await.unwrap_err().to_string();
        assert!(failed.ends_with("an earlier write failed"), "{failed}");
        assert!(listed(&storage).await.is_empty());
        assert_eq!(storage.sweep(later()).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn no_server_at_all_is_refused_by_the_check() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let variables = [
        ("AWS_ENDPOINT_URL", endpoint.as_str()),
        ("AWS_ALLOW_HTTP", "true"),
        ("AWS_ACCESS_KEY_ID", "writer"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
    ];
    let variables = variables.map(|(name, value)| (name.into(), value.into()));
    let storage = Storage::Bucket(Bucket::open_with(variables, "results", "").unwrap());
    let failed = storage.check().await.unwrap_err().to_string();
    assert!(
        failed.starts_with("could not write to the bucket"),
        "{failed}"
    );
    assert!(failed.contains("Connection refused"), "{failed}");
}
