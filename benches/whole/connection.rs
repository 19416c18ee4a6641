//! A client's connection: just enough HTTP/1.1, over TLS or plain, to be no bottleneck for the
//! server that it loads.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// The address of a server, and whether to use TLS.
#[derive(Clone)]
pub struct Endpoint {
    pub address: SocketAddr,
    tls: Option<TlsConnector>,
}

pub struct Connection {
    stream: Box<dyn Stream>,
    received: Vec<u8>,
}

/// A complete response.
pub struct Answer<'a> {
    pub status: u16,
    pub body: &'a [u8],
    /// Whether the server closes the connection after this response.
    pub is_last: bool,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

impl Endpoint {
    pub const fn plain(address: SocketAddr) -> Self {
        Self { address, tls: None }
    }

    /// Trusts only the certificate `pem`. Does not resume sessions, because it is unknown whether
    /// EvoLink does.
    pub fn tls(address: SocketAddr, pem: &str) -> anyhow::Result<Self> {
        let mut roots = RootCertStore::empty();
        for root in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            roots.add(root?)?;
        }
        let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.resumption = Resumption::disabled();
        Ok(Self {
            address,
            tls: Some(TlsConnector::from(Arc::new(config))),
        })
    }

    pub async fn connect(&self) -> io::Result<Connection> {
        let tcp = TcpStream::connect(self.address).await?;
        tcp.set_nodelay(true)?;
        let stream: Box<dyn Stream> = match &self.tls {
            None => Box::new(tcp),
            Some(connector) => {
                let name = ServerName::try_from("localhost").expect("a name");
                Box::new(connector.connect(name, tcp).await?)
            }
        };
        Ok(Connection {
            stream,
            received: Vec::with_capacity(4096),
        })
    }

    /// Sends one GET on a new connection.
    pub async fn get(&self, path: &str) -> io::Result<(u16, String)> {
        let mut connection = self.connect().await?;
        let request = format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n");
        let answer = connection.exchange(request.as_bytes()).await?;
        let body = String::from_utf8_lossy(answer.body).into_owned();
        Ok((answer.status, body))
    }
}

impl Connection {
    /// Sends a request and waits for its response.
    pub async fn exchange(&mut self, request: &[u8]) -> io::Result<Answer<'_>> {
        self.stream.write_all(request).await?;
        self.stream.flush().await?;
        self.received.clear();
        let head_bytes = loop {
            if let Some(at) = self
                .received
                .windows(4)
                .position(|four| four == b"\r\n\r\n")
            {
                break at + 4;
            }
            self.receive().await?;
        };
        let head = Head::parse(&self.received[..head_bytes])?;
        while self.received.len() < head_bytes + head.body_bytes {
            self.receive().await?;
        }
        Ok(Answer {
            status: head.status,
            body: &self.received[head_bytes..head_bytes + head.body_bytes],
            is_last: head.is_last,
        })
    }

    async fn receive(&mut self) -> io::Result<()> {
        match self.stream.read_buf(&mut self.received).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// Closes the connection in the orderly way.
    pub async fn close(mut self) {
        let _ = self.stream.shutdown().await;
    }
}

struct Head {
    status: u16,
    body_bytes: usize,
    is_last: bool,
}

impl Head {
    fn parse(bytes: &[u8]) -> io::Result<Self> {
        let text = std::str::from_utf8(bytes).map_err(|_| odd("a head that is no text"))?;
        let status = text.get(9..12).and_then(|digits| digits.parse().ok());
        let mut head = Self {
            status: status.ok_or_else(|| odd("no status line"))?,
            body_bytes: 0,
            is_last: false,
        };
        for line in text.split("\r\n").skip(1) {
            let Some((name, value)) = line.split_once(':') else {
                continue;
            };
            let value = value.trim();
            if name.eq_ignore_ascii_case("content-length") {
                head.body_bytes = value.parse().map_err(|_| odd("no length"))?;
            } else if name.eq_ignore_ascii_case("connection") {
                head.is_last = value.eq_ignore_ascii_case("close");
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                return Err(odd("an answer in chunks, which no server here should give"));
            }
        }
        Ok(head)
    }
}

fn odd(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
