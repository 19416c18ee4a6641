//! A server that stands in for EvoLink: it reads a whole request, sends exactly the given bytes,
//! and then ends the connection as configured.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;

const REQUEST_BYTES_MAX: usize = 256 * 1024;

/// The body of EvoLink's answer to a poll about a task that it does not know.
pub const NOT_FOUND: &str =
    r#"{"error":{"code":"task_not_found","message":"m","type":"invalid_request_error"}}"#;

/// What happens to the connection once the bytes are sent.
#[derive(Clone, Copy, Debug)]
pub enum End {
    Close,
    Reset,
    /// The connection stays open for further requests: a keep-alive, or a stall if too few bytes
    /// were sent.
    Open,
}

/// Returns the bytes to send for a request (head and body).
type Answers = Arc<dyn Fn(&str) -> Vec<u8> + Send + Sync>;

#[derive(Clone)]
struct Answering {
    answers: Answers,
    delay: Duration,
    end: End,
}

impl Answering {
    fn at_once(answers: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static, end: End) -> Self {
        Self {
            answers: Arc::new(answers),
            delay: Duration::ZERO,
            end,
        }
    }
}

pub struct RawServer {
    pub url: String,
    requests: Arc<Mutex<Vec<String>>>,
    connections: Arc<AtomicUsize>,
    /// Ends with the server, and its connections with it.
    _worker: JoinSet<()>,
}

impl RawServer {
    pub async fn start(bytes: Vec<u8>, end: End) -> Self {
        Self::start_with(bytes, end, None).await
    }

    /// Answers each request with the result of `answers`, after `delay`.
    pub async fn start_slow(
        delay: Duration,
        answers: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static,
    ) -> Self {
        let slowly = Answering {
            answers: Arc::new(answers),
            delay,
            end: End::Close,
        };
        Self::serve_all(slowly, None).await
    }

    /// Answers each request with the result of `answers`.
    pub async fn start_answering(
        answers: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static,
        end: End,
    ) -> Self {
        Self::serve_all(Answering::at_once(answers, end), None).await
    }

    /// Answers with `bytes`, at a port where no server was running before.
    pub async fn start_at(port: u16, bytes: Vec<u8>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let answering = Answering::at_once(move |_| bytes.clone(), End::Close);
        Self::serve_from(listener, answering, None)
    }

    pub async fn start_with(bytes: Vec<u8>, end: End, tls: Option<TlsAcceptor>) -> Self {
        let answering = Answering::at_once(move |_| bytes.clone(), end);
        Self::serve_all(answering, tls).await
    }

    async fn serve_all(answering: Answering, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::serve_from(listener, answering, tls)
    }

    fn serve_from(listener: TcpListener, answering: Answering, tls: Option<TlsAcceptor>) -> Self {
        let address = listener.local_addr().unwrap();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let requests = Arc::new(Mutex::new(Vec::new()));
        let connections = Arc::new(AtomicUsize::new(0));
        let (log, count) = (Arc::clone(&requests), Arc::clone(&connections));
        let mut worker = JoinSet::new();
        worker.spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                let (answering, log, tls) = (answering.clone(), Arc::clone(&log), tls.clone());
                open.spawn(async move {
                    if matches!(answering.end, End::Reset) {
                        stream.set_zero_linger().unwrap();
                    }
                    serve(stream, tls, &answering, &log).await;
                });
            }
        });
        let url = format!("{scheme}://{address}");
        Self {
            url,
            requests,
            connections,
            _worker: worker,
        }
    }

    /// The complete requests received so far, head and body.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

/// An HTTP answer, byte for byte.
pub fn http(status: u16, headers: &[&str], body: &str) -> Vec<u8> {
    let mut answer = format!(
        "HTTP/1.1 {status} Whatever\r\ncontent-length: {}\r\n",
        body.len()
    );
    for header in headers {
        answer.push_str(header);
        answer.push_str("\r\n");
    }
    format!("{answer}\r\n{body}").into_bytes()
}

async fn serve(
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    answering: &Answering,
    log: &Mutex<Vec<String>>,
) {
    match tls {
        None => answer_all(stream, answering, log).await,
        Some(tls) => {
            if let Ok(stream) = tls.accept(stream).await {
                answer_all(stream, answering, log).await;
            }
        }
    }
}

async fn answer_all(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    answering: &Answering,
    log: &Mutex<Vec<String>>,
) {
    while let Some(request) = read_request(&mut stream).await {
        let bytes = (answering.answers)(&request);
        log.lock().unwrap().push(request);
        sleep(answering.delay).await;
        // The client may already have closed the connection.
        let _ = stream.write_all(&bytes).await;
        let _ = stream.flush().await;
        match answering.end {
            End::Open => {}
            End::Reset => return,
            End::Close => {
                let _ = stream.shutdown().await;
                return;
            }
        }
    }
}

/// Reads one whole request; `None` at the end of the connection.
async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut read = Vec::new();
    while read.len() < REQUEST_BYTES_MAX {
        let text = String::from_utf8_lossy(&read);
        if let Some((head, body)) = text.split_once("\r\n\r\n")
            && body.len() >= content_length(head)
        {
            return Some(text.into_owned());
        }
        if stream.read_buf(&mut read).await.ok()? == 0 {
            return None;
        }
    }
    None
}

fn content_length(head: &str) -> usize {
    let mut lines = head.lines().filter_map(|line| line.split_once(": "));
    let length = lines.find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    length.map_or(0, |(_, value)| value.parse().unwrap())
}
