//! A large video: memory stays flat, and a transfer that breaks goes on where it stopped.

use std::fs::File;
use std::io::{self, Read as _};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use evolink_receiver::archive::{Digest, Hasher};
use futures_util::stream;
use http::{HeaderMap, Uri};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant, sleep};

use crate::support::app::callback_body::completed_with;
use crate::support::campaign::rounds;
use crate::support::files::{archive_in, png};
use crate::support::process::{Place, Receiver};

const MIB: u64 = 1024 * 1024;

/// The growth of the receiver's memory that is allowed: half of the smallest file.
const GROWTH_KIB_MAX: u64 = 32 * 1024;

const ARCHIVED_WITHIN: Duration = Duration::from_mins(10);

const CHUNK_BYTES: u64 = 64 * 1024;
/// The period of the bytes of the video. Every shift is noticed.
const PERIOD: u64 = 251;

/// An MP4 of `total` bytes that is made while it is sent.
#[derive(Clone, Copy)]
struct Video {
    total: u64,
}

impl Video {
    /// The boxes `ftyp`, an empty `moov`, and the header of `mdat` with a 64-bit size.
    fn head(self) -> Vec<u8> {
        let mut head = b"\0\0\0\x18ftypisom\0\0\0\0isommp42\0\0\0\x08moov".to_vec();
        let data_bytes = self.total - head.len() as u64;
        head.extend(b"\0\0\0\x01mdat");
        head.extend(data_bytes.to_be_bytes());
        head
    }

    /// The bytes from `start` to `end`, in chunks.
    fn bytes(self, start: u64, end: u64) -> impl Iterator<Item = Bytes> {
        let pattern: Vec<u8> = (0..CHUNK_BYTES + PERIOD)
            .map(|at| u8::try_from(at % PERIOD).unwrap())
            .collect();
        let (pattern, head) = (Bytes::from(pattern), Bytes::from(self.head()));
        let mut at = start;
        std::iter::from_fn(move || {
            let head_bytes = head.len() as u64;
            let chunk = if at >= end {
                return None;
            } else if at < head_bytes {
                head.slice(usize::try_from(at).unwrap()..)
            } else {
                let first = usize::try_from(at % PERIOD).unwrap();
                let length = usize::try_from(CHUNK_BYTES.min(end - at)).unwrap();
                pattern.slice(first..first + length)
            };
            at += chunk.len() as u64;
            Some(chunk)
        })
    }

    fn digest(self) -> Digest {
        let mut hasher = Hasher::default();
        self.bytes(0, self.total)
            .for_each(|chunk| hasher.update(&chunk));
        hasher.finish()
    }
}

/// Hangs up after `cut` bytes of the whole video, and serves the rest.
#[derive(Clone)]
struct Host {
    video: Video,
    cut: u64,
    /// The requests for the video.
    asked: Arc<Mutex<Vec<Asked>>>,
}

#[derive(Clone, Debug)]
struct Asked {
    range: Option<String>,
    if_range: Option<String>,
}

async fn answer(State(host): State<Host>, uri: Uri, headers: HeaderMap) -> Response {
    if uri.path() == "/small.png" {
        return Response::new(Body::from(png(1, 100_000)));
    }
    let text = |name| {
        let value = headers.get(name)?.to_str().unwrap();
        Some(value.to_owned())
    };
    let range = text("range");
    let start = range.as_deref().and_then(start_of);
    let if_range = text("if-range");
    host.asked.lock().unwrap().push(Asked { range, if_range });
    let total = host.video.total;
    let answer = Response::builder().header("etag", "\"v1\"");
    let (answer, body) = match start {
        None => (answer.header("content-length", total), cut_off(&host)),
        Some(start) => {
            let range = format!("bytes {start}-{}/{total}", total - 1);
            let answer = answer.status(206).header("content-range", range);
            let chunks = host.video.bytes(start, total).map(Ok::<_, io::Error>);
            let body = Body::from_stream(stream::iter(chunks));
            (answer.header("content-length", total - start), body)
        }
    };
    answer.body(body).unwrap()
}

fn start_of(range: &str) -> Option<u64> {
    let start = range.strip_prefix("bytes=")?.strip_suffix('-')?;
    start.parse().ok()
}

fn cut_off(host: &Host) -> Body {
    let chunks = host.video.bytes(0, host.cut).map(Ok);
    let hang_up = std::iter::once_with(|| Err(io::Error::other("the host hangs up")));
    Body::from_stream(stream::iter(chunks.chain(hang_up)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_video_whose_transfer_breaks_is_archived_in_flat_memory() {
    // In the long form it has as many bytes as `archive.max_video` allows.
    let total = u64::from(rounds(64, 2048)) * MIB;
    let video = Video { total };
    let digest = tokio::task::spawn_blocking(move || video.digest());
    let host = Host {
        video,
        cut: total / 2,
        asked: Arc::default(),
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().fallback(answer).with_state(host.clone());
    let mut server = JoinSet::new();
    server.spawn(async move { axum::serve(listener, router).await.unwrap() });

    let place = Place::new();
    archive_in(&place, r#"allow_networks = ["127.0.0.0/8"]"#);
    let receiver = place.start().await;
    // All that any fetch needs has been allocated by now.
    archived(&receiver, "task-small", &format!("{base}/small.png")).await;
    let before = receiver.memory_kib("VmRSS");
    let file = archived(&receiver, "task-large", &format!("{base}/video.mp4")).await;
    let growth = receiver.memory_kib("VmHWM").saturating_sub(before);
    println!("{} MiB, memory grew by {growth} KiB", total / MIB);
    assert!(growth < GROWTH_KIB_MAX, "memory grew by {growth} KiB");
    assert_eq!(file["bytes"], total);
    assert_eq!(file["content_type"], "video/mp4");
    let digest = digest.await.unwrap().to_string();
    assert_eq!(file["sha256"], digest);
    let asked = host.asked.lock().unwrap().clone();
    let [whole, rest] = &asked[..] else {
        panic!("the whole file once, and then its rest: {asked:?}");
    };
    assert_eq!(whole.range, None);
    assert_eq!(rest.if_range.as_deref(), Some("\"v1\""));
    let resumed_from = rest.range.as_deref().and_then(start_of).unwrap();
    assert!((MIB..=host.cut).contains(&resumed_from), "{resumed_from}");
    receiver.stop().await;
    let copy = place.data().join("results");
    let mut copy = File::open(copy.join(&digest[..2]).join(&digest[2..])).unwrap();
    let (mut hasher, mut piece) = (Hasher::default(), vec![0; 1 << 20]);
    loop {
        match copy.read(&mut piece).unwrap() {
            0 => break,
            length => hasher.update(&piece[..length]),
        }
    }
    assert_eq!(hasher.finish().to_string(), digest);
}

/// Completes a task with this result, and waits until it is archived.
async fn archived(receiver: &Receiver, id: &str, url: &str) -> Value {
    let body = completed_with(id, &json!([url]));
    assert_eq!(receiver.callback(body).await, Some((200, None)));
    let deadline = Instant::now() + ARCHIVED_WITHIN;
    loop {
        let (_, task) = receiver.get(&format!("/v1/tasks/{id}")).await.unwrap();
        let file = task["receiver"]["results"][0].clone();
        if file["archived_at"].is_string() {
            return file;
        }
        assert!(Instant::now() < deadline, "{file}: {}", receiver.log_tail());
        sleep(Duration::from_millis(100)).await;
    }
}
