//! A host of result files.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use http::HeaderMap;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::sleep;

/// A request for a file.
#[derive(Clone, Debug)]
pub struct Asked {
    pub path: String,
    pub headers: HeaderMap,
    /// The number of requests for this path so far, including this one.
    pub nth: usize,
}

/// One answer of the host.
#[derive(Clone, Debug)]
pub enum Given {
    /// The whole file.
    File(Vec<u8>),
    /// The whole file, a piece at a time.
    Slowly(Vec<u8>, Duration),
    /// A status without a file.
    Status(u16),
    /// Status 200 with this type and body.
    Page(&'static str, Vec<u8>),
    /// These bytes, with a `Content-Length` that is too large by this number.
    Truncated(Vec<u8>, usize),
    /// The first half of the file, and the rest once this is notified.
    Gated(Vec<u8>, Arc<Notify>),
}

type Answers = Arc<dyn Fn(&Asked) -> Given + Send + Sync>;

#[derive(Clone)]
struct Host {
    answers: Answers,
    asked: Arc<Mutex<Vec<Asked>>>,
}

pub struct Origin {
    pub address: SocketAddr,
    host: Host,
    _worker: JoinSet<()>,
}

impl Origin {
    pub async fn start(answers: impl Fn(&Asked) -> Given + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let host = Host {
            answers: Arc::new(answers),
            asked: Arc::default(),
        };
        let router = Router::new().fallback(answer).with_state(host.clone());
        let mut worker = JoinSet::new();
        worker.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self {
            address,
            host,
            _worker: worker,
        }
    }

    pub fn url(&self, name: &str) -> String {
        format!("http://{}/{name}", self.address)
    }

    /// The requests so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.host.asked.lock().unwrap().clone()
    }

    pub fn count(&self) -> usize {
        self.host.asked.lock().unwrap().len()
    }
}

async fn answer(State(host): State<Host>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let asked = {
        let mut all = host.asked.lock().unwrap();
        let nth = all.iter().filter(|asked| asked.path == path).count() + 1;
        let asked = Asked {
            path,
            headers: request.headers().clone(),
            nth,
        };
        all.push(asked.clone());
        asked
    };
    let answer = Response::builder();
    match (host.answers)(&asked) {
        Given::File(bytes) => answer.body(Body::from(bytes)),
        Given::Slowly(bytes, pause) => {
            let length = bytes.len();
            let pieces: Vec<Bytes> = bytes
                .chunks(length / 8 + 1)
                .map(Bytes::copy_from_slice)
                .collect();
            let pieces =
                futures_util::stream::unfold(pieces.into_iter(), move |mut left| async move {
                    sleep(pause).await;
                    Some((Ok::<_, Infallible>(left.next()?), left))
                });
            answer
                .header("content-length", length)
                .body(Body::from_stream(pieces))
        }
        Given::Status(status) => answer.status(status).body(Body::empty()),
        Given::Page(kind, bytes) => answer.header("content-type", kind).body(Body::from(bytes)),
        Given::Truncated(bytes, missing) => {
            let declared = bytes.len() + missing;
            let pieces = futures_util::stream::iter([
                Ok(Bytes::from(bytes)),
                Err(std::io::Error::other("the host hangs up")),
            ]);
            answer
                .header("content-length", declared)
                .body(Body::from_stream(pieces))
        }
        Given::Gated(bytes, gate) => {
            let length = bytes.len();
            let half = length / 2;
            let pieces = [bytes[..half].to_vec(), bytes[half..].to_vec()];
            let pieces = pieces.into_iter().enumerate();
            let pieces = futures_util::stream::unfold(pieces, move |mut left| {
                let gate = Arc::clone(&gate);
                async move {
                    let (nth, piece) = left.next()?;
                    if nth > 0 {
                        gate.notified().await;
                    }
                    Some((Ok::<_, Infallible>(Bytes::from(piece)), left))
                }
            });
            answer
                .header("content-length", length)
                .body(Body::from_stream(pieces))
        }
    }
    .unwrap()
}
