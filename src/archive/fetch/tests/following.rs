//! Tests that readers get a file while it is fetched.

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use tokio::sync::Notify;

use super::*;
use crate::archive::storage::tests::server::S3;

const FILE_BYTES: usize = 900_000;
/// The bytes that the server sends before it waits for the test.
const SENT_BYTES: usize = 600_000;

type Chunks = BoxStream<'static, Result<Bytes, Lost>>;

fn file() -> Vec<u8> {
    png(3, 2, FILE_BYTES - 57)
}

/// A server that stops in the middle of the file until `go`.
async fn halting(go: &Arc<Notify>) -> Bed {
    let mut bounds = small_bounds();
    bounds.image.bytes_max = 1024 * 1024;
    bounds.rate.window = Duration::from_secs(20);
    let go = Arc::clone(go);
    Bed::with(bounds, move |_| {
        let [head, body] = ok(&file()).try_into().unwrap();
        let Turn::Send(body) = body else {
            unreachable!();
        };
        let (sent, rest) = body.split_at(SENT_BYTES);
        let (first, sent) = sent.split_at(SENT_BYTES - 2000);
        let (second, third) = sent.split_at(1000);
        vec![
            head,
            Turn::Send(first.to_vec()),
            // Chunks of their own, much shorter than a block that is written at once.
            Turn::Pause(Duration::from_millis(20)),
            Turn::Send(second.to_vec()),
            Turn::Pause(Duration::from_millis(20)),
            Turn::Send(third.to_vec()),
            Turn::Await(Arc::clone(&go)),
            Turn::Send(rest.to_vec()),
        ]
    })
    .await
}

async fn fetch(bed: &Bed, progress: Progress) -> Result<Fetched, Failure> {
    let url = format!("{}/0.png", bed.server.base());
    let fetcher = &bed.fetcher;
    fetcher.fetch_with(&bed.storage, &url, progress).await
}

/// Reads until there are `length` bytes.
async fn read_some(chunks: &mut Chunks, length: usize) -> Vec<u8> {
    let mut all = Vec::new();
    while all.len() < length {
        all.extend_from_slice(&chunks.next().await.unwrap().unwrap());
    }
    all
}

/// Reads to the end. Returns the error, if there is one.
async fn read_all(mut chunks: Chunks) -> (Vec<u8>, Option<Lost>) {
    let mut all = Vec::new();
    while let Some(chunk) = chunks.next().await {
        match chunk {
            Ok(chunk) => all.extend_from_slice(&chunk),
            Err(lost) => {
                assert!(chunks.next().await.is_none(), "an error is the last item");
                return (all, Some(lost));
            }
        }
    }
    (all, None)
}

async fn whole(chunks: Chunks) -> Vec<u8> {
    let (all, lost) = read_all(chunks).await;
    assert!(lost.is_none(), "{lost:?}");
    all
}

#[tokio::test]
async fn readers_get_the_bytes_while_they_arrive() {
    let go = Arc::default();
    let bed = halting(&go).await;
    let (progress, following) = Progress::new();
    let (mut first, mut second) = (following.chunks(), following.chunks());
    let read = async {
        let head = following.head().await.unwrap();
        let expected = Head {
            content_type: "image/png",
            bytes_total: Some(FILE_BYTES as u64),
        };
        assert_eq!(head, expected);
        // All that was sent, although the server sends no more.
        let mut start = read_some(&mut first, SENT_BYTES).await;
        assert_eq!(start, file()[..SENT_BYTES]);
        assert_eq!(read_some(&mut second, SENT_BYTES).await, start);
        let late = following.chunks();
        go.notify_one();
        start.extend(whole(first).await);
        assert_eq!(start, file());
        assert_eq!(whole(second).await, file()[SENT_BYTES..]);
        assert_eq!(whole(late).await, file());
        following.kept().await.unwrap()
    };
    let (fetched, kept) = tokio::join!(fetch(&bed, progress), read);
    assert_eq!(fetched.unwrap(), kept);
    assert_eq!(kept.sha256, Digest::of(&file()));
    // After the end too, even if the file is deleted meanwhile.
    bed.storage.delete(kept.sha256).await.unwrap();
    assert_eq!(whole(following.chunks()).await, file());
    assert_eq!(following.head().await.unwrap().content_type, "image/png");
}

#[tokio::test]
async fn readers_that_leave_or_do_not_read_hold_nothing_up() {
    let go = Arc::default();
    let bed = halting(&go).await;
    let (progress, following) = Progress::new();
    let (mut leaves, mut stalls) = (following.chunks(), following.chunks());
    let read = async {
        read_some(&mut leaves, 1).await;
        drop(leaves);
        read_some(&mut stalls, 1).await;
        go.notify_one();
    };
    let (fetched, ()) = tokio::join!(fetch(&bed, progress), read);
    assert_eq!(fetched.unwrap().sha256, Digest::of(&file()));
    let (rest, lost) = read_all(stalls).await;
    assert!(lost.is_none(), "{lost:?}");
    assert!(file().ends_with(&rest));
}

#[tokio::test]
async fn a_file_that_is_not_whole_has_no_end_for_readers() {
    let mut truncated = file();
    truncated.truncate(FILE_BYTES - 12);
    let length = truncated.len();
    let bed = Bed::with(Bounds::default(), move |_| ok(&truncated)).await;
    let (progress, following) = Progress::new();
    let (fetched, (got, lost)) = tokio::join!(fetch(&bed, progress), read_all(following.chunks()));
    let failure = fetched.unwrap_err().to_string();
    assert_eq!(lost.unwrap().to_string(), failure);
    // A client that was promised this length must not have it.
    assert!(got.len() < length, "{} of {length}", got.len());
    assert!(file().starts_with(&got));
    assert!(!bed.has_files());
    assert_eq!(read_all(following.chunks()).await.0.len(), 0);
}

#[tokio::test]
async fn readers_get_the_reason_of_a_failed_fetch() {
    let bed = Bed::new(|_| head("HTTP/1.1 404 Not Found\nContent-Length: 0\n\n")).await;
    let (progress, following) = Progress::new();
    let (fetched, lost) = tokio::join!(fetch(&bed, progress), following.head());
    let failure = fetched.unwrap_err().to_string();
    for lost in [
        lost.unwrap_err(),
        following.kept().await.unwrap_err(),
        read_all(following.chunks()).await.1.unwrap(),
    ] {
        assert_eq!(lost.to_string(), failure);
        let Lost::Failed { next, .. } = lost else {
            panic!("{lost}");
        };
        assert_eq!(next, Next::FreshUrl);
    }
}

#[tokio::test]
async fn readers_of_a_stopped_fetch_get_an_error() {
    let bed = halting(&Arc::default()).await;
    let (progress, following) = Progress::new();
    let mut chunks = following.chunks();
    tokio::select! {
        fetched = fetch(&bed, progress) => panic!("{fetched:?}"),
        _ = read_some(&mut chunks, SENT_BYTES) => {}
    }
    let (got, lost) = read_all(chunks).await;
    assert!(got.is_empty());
    assert!(matches!(lost, Some(Lost::Stopped)), "{lost:?}");
    assert!(matches!(following.kept().await, Err(Lost::Stopped)));
    assert!(!bed.has_files());
    // Also without a start.
    let (progress, following) = Progress::new();
    drop(progress);
    assert!(matches!(following.head().await, Err(Lost::Stopped)));
}

#[tokio::test]
async fn a_file_without_a_declared_length_is_followed_to_its_end() {
    let bed = Bed::with(Bounds::default(), |_| {
        let head = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n";
        vec![Turn::Send(head.to_vec()), Turn::Send(file())]
    })
    .await;
    let (progress, following) = Progress::new();
    let (fetched, head, got) = tokio::join!(
        fetch(&bed, progress),
        following.head(),
        whole(following.chunks())
    );
    fetched.unwrap();
    assert_eq!(head.unwrap().content_type, "image/png");
    assert_eq!(got, file());
}

#[tokio::test]
async fn readers_of_a_bucket_get_the_file_once_it_is_kept() {
    let Some(s3) = S3::find() else {
        return;
    };
    let go = Arc::default();
    let mut bed = halting(&go).await;
    bed.storage = s3.storage().await;
    let (progress, following) = Progress::new();
    let chunks = following.chunks();
    let read = async {
        let head = following.head().await.unwrap();
        assert_eq!(head.bytes_total, Some(FILE_BYTES as u64));
        go.notify_one();
        whole(chunks).await
    };
    let (fetched, got) = tokio::join!(fetch(&bed, progress), read);
    assert_eq!(got, file());
    let digest = fetched.unwrap().sha256;
    bed.storage.delete(digest).await.unwrap();
    // The file is read from the bucket, and is gone.
    let lost = read_all(following.chunks()).await.1;
    assert!(matches!(lost, Some(Lost::Storage(StorageError::NotFound))));
}
