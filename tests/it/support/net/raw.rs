//! An HTTP client on a bare socket, plain or TLS, for requests that no HTTP library would send
//! (rule R8). It parses answers strictly: anything unexpected on the wire panics and fails
//! the test. Every wait is bounded.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;

use super::tls::client_config;
use crate::support::until::PATIENCE;

/// One connection.
pub struct RawClient {
    stream: Box<dyn Stream>,
    /// Received bytes that are not yet part of an answer.
    buffer: Vec<u8>,
}

/// One complete answer. A `100 Continue` is an answer of its own.
#[derive(Debug, Clone)]
pub struct RawResponse {
    pub status: u16,
    /// In order, names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

impl RawClient {
    pub async fn connect_plain(address: SocketAddr) -> Self {
        Self::over(connect_tcp(address).await)
    }

    /// Connects with TLS, and trusts only `roots_pem`.
    pub async fn connect_tls(address: SocketAddr, roots_pem: &str, server_name: &str) -> Self {
        let config = client_config(roots_pem);
        Self::try_connect_tls(address, config, server_name)
            .await
            .expect("the TLS handshake succeeds")
    }

    pub async fn try_connect_tls(
        address: SocketAddr,
        config: ClientConfig,
        name: &str,
    ) -> std::io::Result<Self> {
        let name = ServerName::try_from(name.to_owned()).expect("a valid server name");
        let tcp = connect_tcp(address).await;
        let handshake = TlsConnector::from(Arc::new(config)).connect(name, tcp);
        let stream = timeout(PATIENCE, handshake)
            .await
            .expect("the TLS handshake ends")?;
        Ok(Self::over(stream))
    }

    pub fn over(stream: impl Stream + 'static) -> Self {
        Self {
            stream: Box::new(stream),
            buffer: Vec::new(),
        }
    }

    /// Panics if the server has closed the connection; see `send_if_open`.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes.as_ref())
            .await
            .expect("the connection is open");
    }

    /// Sends input that the server may refuse before all of it is sent. False if the connection has
    /// been reset.
    pub async fn send_if_open(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.try_send(bytes.as_ref()).await.is_ok()
    }

    async fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        let sent = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        timeout(PATIENCE, sent).await.expect("the server reads")
    }

    /// Closes our sending side; answers can still be read.
    pub async fn finish_sending(&mut self) {
        self.stream
            .shutdown()
            .await
            .expect("the connection is open");
    }

    pub async fn read_response(&mut self) -> RawResponse {
        self.try_read_response()
            .await
            .expect("an answer before the connection closes")
    }

    /// Returns `None` if the server closed the connection instead of answering.
    pub async fn try_read_response(&mut self) -> Option<RawResponse> {
        let (status, headers) = self.try_read_head().await?;
        let mut response = RawResponse {
            status,
            headers,
            body: Vec::new(),
        };
        response.body = if status < 200 || status == 204 || status == 304 {
            Vec::new()
        } else if response.header("transfer-encoding") == Some("chunked") {
            self.read_chunks().await
        } else if let Some(length) = response.header("content-length") {
            self.take(length.parse().expect("a Content-Length is a number"))
                .await
        } else {
            while self.fill().await {}
            std::mem::take(&mut self.buffer)
        };
        Some(response)
    }

    /// Reads all answers until the server closes.
    pub async fn read_responses_until_closed(&mut self) -> Vec<RawResponse> {
        let mut responses = Vec::new();
        while let Some(response) = self.try_read_response().await {
            responses.push(response);
        }
        responses
    }

    /// True if the server closes (or resets) within `time_max`, without another byte.
    pub async fn is_closed_within(&mut self, time_max: Duration) -> bool {
        assert!(
            self.buffer.is_empty(),
            "unexpected bytes before the close: {}",
            printable(&self.buffer)
        );
        let closed = timeout(time_max, self.fill()).await;
        assert!(
            self.buffer.is_empty(),
            "unexpected bytes before the close: {}",
            printable(&self.buffer)
        );
        closed.is_ok()
    }

    /// Returns how long the server takes to close, discarding what it sends.
    pub async fn time_until_closed(&mut self) -> Duration {
        let start = Instant::now();
        while self.fill().await {
            self.buffer.clear();
        }
        start.elapsed()
    }

    /// Returns the next `length` bytes as they come, for streams. Panics if the server closes
    /// before.
    pub async fn take(&mut self, length: usize) -> Vec<u8> {
        while self.buffer.len() < length {
            assert!(
                self.fill().await,
                "closed within a body, after {}",
                printable(&self.buffer)
            );
        }
        self.buffer.drain(..length).collect()
    }

    /// Returns the next line without its end. Panics if the server closes before.
    pub async fn take_line(&mut self) -> String {
        loop {
            if let Some(end) = self.buffer.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return String::from_utf8_lossy(&line)
                    .trim_end_matches(['\r', '\n'])
                    .to_owned();
            }
            assert!(
                self.fill().await,
                "closed within a line, after {}",
                printable(&self.buffer)
            );
        }
    }

    async fn try_read_head(&mut self) -> Option<(u16, Vec<(String, String)>)> {
        let end = loop {
            if let Some(at) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break at;
            }
            if !self.fill().await {
                assert!(
                    self.buffer.is_empty(),
                    "closed within a head: {}",
                    printable(&self.buffer)
                );
                return None;
            }
        };
        let head: Vec<u8> = self.buffer.drain(..end + 4).collect();
        let head = std::str::from_utf8(&head[..end]).expect("our heads are ASCII");
        let mut lines = head.split("\r\n");
        let status_line = lines.next().unwrap_or_default();
        let status = status_line
            .strip_prefix("HTTP/1.1 ")
            .or_else(|| status_line.strip_prefix("HTTP/1.0 "))
            .and_then(|rest| rest.get(..3)?.parse().ok())
            .unwrap_or_else(|| panic!("not a status line: {status_line:?}"));
        let headers = lines.map(|line| {
            let (name, value) = line
                .split_once(':')
                .unwrap_or_else(|| panic!("not a header line: {line:?}"));
            (name.to_ascii_lowercase(), value.trim().to_owned())
        });
        Some((status, headers.collect()))
    }

    async fn read_chunks(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let size = self.take_line().await;
            let size = usize::from_str_radix(&size, 16)
                .unwrap_or_else(|_| panic!("not a chunk size: {size:?}"));
            body.extend(self.take(size).await);
            assert_eq!(self.take(2).await, b"\r\n", "a chunk ends with its line");
            if size == 0 {
                return body;
            }
        }
    }

    /// Reads once more. False at the end of the connection, by a close or a reset.
    async fn fill(&mut self) -> bool {
        self.buffer.reserve(16 * 1024);
        let read = self.stream.read_buf(&mut self.buffer);
        match timeout(PATIENCE, read)
            .await
            .expect("the server answers or closes")
        {
            Ok(length) => length > 0,
            Err(error) => {
                use ErrorKind::{
                    BrokenPipe, ConnectionAborted, ConnectionReset, InvalidData, UnexpectedEof,
                };
                // `InvalidData` is a TLS alert, and `UnexpectedEof` a close without one.
                let is_end = [
                    BrokenPipe,
                    ConnectionAborted,
                    ConnectionReset,
                    InvalidData,
                    UnexpectedEof,
                ];
                assert!(
                    is_end.contains(&error.kind()),
                    "the connection broke oddly: {error}"
                );
                false
            }
        }
    }
}

impl RawResponse {
    /// The value of the header, which must not be repeated. `name` is in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self
            .headers
            .iter()
            .filter(|(known, _)| known == name)
            .map(|(_, value)| value.as_str());
        let value = values.next();
        assert!(values.next().is_none(), "{name} is repeated in {self:?}");
        value
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is text")
    }

    /// Whether the server announced that it will close.
    pub fn announces_close(&self) -> bool {
        self.header("connection")
            .is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }
}

async fn connect_tcp(address: SocketAddr) -> TcpStream {
    let connecting = timeout(PATIENCE, TcpStream::connect(address));
    let stream = connecting
        .await
        .expect("the server accepts in time")
        .expect("the server accepts");
    // Each `send` should arrive as it was made.
    stream.set_nodelay(true).expect("a TCP option");
    stream
}

fn printable(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}
