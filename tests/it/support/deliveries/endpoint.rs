//! An endpoint that behaves as a test wants, and keeps every delivery that it receives.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::support::until::until;

const REQUEST_BYTES_MAX: usize = 1024 * 1024;

/// The behaviour of the endpoint after it has read a delivery.
#[derive(Clone, Debug)]
pub enum Behaviour {
    /// Sends a whole answer, head and body. The connection stays open.
    Answer(String),
    /// Sends a whole answer after a delay.
    Slowly(Duration, String),
    /// Answers with the status that the function returns for a delivery and the number of the
    /// attempt, which starts at 1. With 0, closes the connection without an answer.
    By(fn(&Received, usize) -> u16),
    /// Never sends anything.
    Silence,
    /// Sends a head at one byte a second.
    Drip,
    /// Sends 200 and then an endless body.
    Flood,
    Reset,
}

/// A delivery as it was received.
#[derive(Clone, Debug)]
pub struct Received {
    pub at: Instant,
    pub path: String,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

pub struct Endpoint {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
    /// Stops with the endpoint, and so do its connections.
    _worker: JoinSet<()>,
}

struct State {
    behaviour: Behaviour,
    received: Vec<Received>,
    connections: usize,
    flooded: u64,
}

/// An answer without a body.
pub fn answer(status: u16, headers: &str) -> Behaviour {
    let headers = headers.replace('\n', "\r\n");
    Behaviour::Answer(format!(
        "HTTP/1.1 {status} Whatever\r\ncontent-length: 0\r\n{headers}\r\n"
    ))
}

impl Endpoint {
    pub async fn start(behaviour: Behaviour) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State {
            behaviour,
            received: Vec::new(),
            connections: 0,
            flooded: 0,
        }));
        let shared = Arc::clone(&state);
        let mut worker = JoinSet::new();
        worker.spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                shared.lock().unwrap().connections += 1;
                let shared = Arc::clone(&shared);
                open.spawn(async move {
                    let _ = serve(stream, &shared).await;
                });
                while open.try_join_next().is_some() {}
            }
        });
        Self {
            address,
            state,
            _worker: worker,
        }
    }

    pub async fn good() -> Self {
        Self::start(answer(200, "")).await
    }

    pub fn url(&self) -> String {
        format!("http://{}/hook?a=b", self.address)
    }

    pub fn behave(&self, behaviour: Behaviour) {
        self.state().behaviour = behaviour;
    }

    pub fn received(&self) -> Vec<Received> {
        self.state().received.clone()
    }

    pub fn count(&self) -> usize {
        self.state().received.len()
    }

    pub fn connections(&self) -> usize {
        self.state().connections
    }

    /// Bytes of endless bodies that the other side's system has accepted.
    pub fn flooded(&self) -> u64 {
        self.state().flooded
    }

    /// Waits until at least `count` deliveries have been received.
    pub async fn has(&self, count: usize) -> Vec<Received> {
        let what = format!("{count} deliveries");
        until(&what, || self.count() >= count).await;
        self.received()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl Received {
    pub fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }

    pub fn id(&self) -> &str {
        self.header("webhook-id")
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

async fn serve(mut stream: TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let mut rest = Vec::new();
    while let Some(received) = read_delivery(&mut stream, &mut rest).await? {
        let (behaviour, attempt) = {
            let mut state = state.lock().unwrap();
            state.received.push(received.clone());
            let all = state.received.iter();
            let attempt = all.filter(|one| one.id() == received.id()).count();
            (state.behaviour.clone(), attempt)
        };
        match behaviour {
            Behaviour::Answer(answer) => stream.write_all(answer.as_bytes()).await?,
            Behaviour::Slowly(delay, answer) => {
                sleep(delay).await;
                stream.write_all(answer.as_bytes()).await?;
            }
            Behaviour::By(status) => match status(&received, attempt) {
                0 => return Ok(()),
                status => {
                    let answer = format!("HTTP/1.1 {status} Whatever\r\ncontent-length: 0\r\n\r\n");
                    stream.write_all(answer.as_bytes()).await?;
                }
            },
            // Wait until the other side closes.
            Behaviour::Silence => {
                return stream.read_to_end(&mut rest).await.map(|_| ());
            }
            Behaviour::Drip => {
                for byte in "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".bytes() {
                    stream.write_all(&[byte]).await?;
                    sleep(Duration::from_secs(1)).await;
                }
            }
            Behaviour::Flood => return flood(stream, state).await,
            Behaviour::Reset => {
                stream.set_zero_linger()?;
                return Ok(());
            }
        }
    }
    Ok(())
}

async fn flood(mut stream: TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n",
        10_u64 << 30
    );
    stream.write_all(head.as_bytes()).await?;
    loop {
        stream.write_all(&[b'x'; 16 * 1024]).await?;
        state.lock().unwrap().flooded += 16 * 1024;
    }
}

/// Returns `None` at the end of the connection.
async fn read_delivery(
    stream: &mut TcpStream,
    read: &mut Vec<u8>,
) -> std::io::Result<Option<Received>> {
    loop {
        if let Some((received, length)) = parse(read) {
            read.drain(..length);
            return Ok(Some(received));
        }
        assert!(read.len() < REQUEST_BYTES_MAX, "no end of a request");
        if stream.read_buf(read).await? == 0 {
            return Ok(None);
        }
    }
}

fn parse(read: &[u8]) -> Option<(Received, usize)> {
    let end = memchr::memmem::find(read, b"\r\n\r\n")?;
    let head = std::str::from_utf8(&read[..end]).unwrap();
    let mut lines = head.lines();
    let first = lines.next().unwrap();
    let path = first
        .strip_prefix("POST ")
        .and_then(|rest| rest.strip_suffix(" HTTP/1.1"))
        .unwrap_or_else(|| panic!("{first}"));
    let headers = lines.map(|line| {
        let (name, value) = line.split_once(": ").unwrap();
        (
            HeaderName::from_bytes(name.as_bytes()).unwrap(),
            HeaderValue::from_str(value).unwrap(),
        )
    });
    let headers: HeaderMap = headers.collect();
    let length: usize = headers["content-length"].to_str().unwrap().parse().unwrap();
    let body = read.get(end + 4..end + 4 + length)?.to_vec();
    let received = Received {
        at: Instant::now(),
        path: path.to_owned(),
        headers,
        body,
    };
    Some((received, end + 4 + length))
}
