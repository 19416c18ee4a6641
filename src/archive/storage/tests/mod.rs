//! Tests of both kinds of storage, and their helpers.

mod bucket;
mod bucket_faults;
mod bucket_requests;
mod folder;
mod folder_faults;
mod proxy;
pub(in crate::archive) mod server;
mod upkeep;

use super::*;

/// The headers of the answer to a presigned URL.
const SHOWN: ShownAs<'_> = ShownAs {
    content_type: "image/webp",
    content_disposition: "inline; filename=\"task-0.webp\"",
};

async fn kept(storage: &Storage, bytes: &[u8]) -> Digest {
    let mut writer = storage.writer().await.unwrap();
    for chunk in bytes.chunks(100_000) {
        writer.write(Bytes::copy_from_slice(chunk)).await.unwrap();
    }
    let stored = writer.finish().await.unwrap();
    assert_eq!(stored.bytes, bytes.len() as u64);
    assert_eq!(stored.sha256, Digest::of(bytes));
    stored.sha256
}

async fn read(storage: &Storage, digest: Digest, range: Option<Range<u64>>) -> Vec<u8> {
    let mut reading = storage.read(digest, range).await.unwrap();
    let mut all = Vec::new();
    while let Some(chunk) = reading.chunks.next().await {
        all.extend_from_slice(&chunk.unwrap());
    }
    assert_eq!(all.len() as u64, reading.range.end - reading.range.start);
    all
}

async fn listed(storage: &Storage) -> Vec<Entry> {
    storage.list().map(Result::unwrap).collect().await
}

fn later() -> Timestamp {
    Timestamp::from_millis(i64::MAX)
}

/// Bytes that repeat after no power of two, so that a shifted chunk shows.
fn bytes(length: usize) -> Vec<u8> {
    (0..length)
        .map(|n| u8::try_from(n % 251).unwrap())
        .collect()
}
