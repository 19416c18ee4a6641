//! The servers in the lab. Every address in the world belongs to this machine, which listens on a
//! few ports. Each connection is recorded with the address that was called.

use std::collections::BTreeMap;
use std::net::{Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Duration, timeout};
use tokio_rustls::TlsAcceptor;

use super::own_network::run;

/// The usual ports, and one more.
pub const PORTS: [u16; 3] = [80, 443, 8000];

/// The traps themselves call this address, to know that all earlier calls have been recorded.
const MARKER: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0xffff);

#[derive(Clone)]
pub struct Traps {
    seen: Arc<Mutex<Seen>>,
    acceptor: Option<TlsAcceptor>,
    page: Arc<[u8]>,
}

#[derive(Default)]
struct Seen {
    called: BTreeMap<SocketAddr, u32>,
    heads: Vec<String>,
}

impl Traps {
    /// Sets traps that have no certificate.
    pub async fn set() -> Self {
        Self::set_with(None, &[]).await
    }

    /// Sets traps that accept TLS on port 443, and have `page` at `/page`.
    pub async fn set_with(acceptor: Option<TlsAcceptor>, page: &[u8]) -> Self {
        for family in ["-4", "-6"] {
            let everywhere = if family == "-4" { "0.0.0.0/0" } else { "::/0" };
            run(
                "ip",
                &[family, "route", "add", "local", everywhere, "dev", "lo"],
            );
        }
        let traps = Self {
            seen: Arc::default(),
            acceptor,
            page: page.into(),
        };
        for port in PORTS {
            // This accepts IPv4 too: it is the default setting of Linux.
            let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, port))
                .await
                .unwrap();
            tokio::spawn(traps.clone().listen(listener));
        }
        traps
    }

    /// The addresses called since the last time, and how often.
    pub async fn called(&self) -> Vec<(String, u32)> {
        for port in PORTS {
            let marker = SocketAddr::from((MARKER, port));
            drop(TcpStream::connect(marker).await.unwrap());
            let noted = async {
                while self.seen.lock().unwrap().called.remove(&marker).is_none() {
                    tokio::task::yield_now().await;
                }
            };
            timeout(Duration::from_secs(30), noted).await.unwrap();
        }
        let called = std::mem::take(&mut self.seen.lock().unwrap().called);
        let called = called.into_iter();
        called
            .map(|(address, times)| (address.to_string(), times))
            .collect()
    }

    /// Heads of the requests since the last time.
    pub fn heads(&self) -> Vec<String> {
        std::mem::take(&mut self.seen.lock().unwrap().heads)
    }

    async fn listen(self, listener: TcpListener) {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let called = stream.local_addr().unwrap();
            let called = SocketAddr::new(called.ip().to_canonical(), called.port());
            *self.seen.lock().unwrap().called.entry(called).or_default() += 1;
            let traps = self.clone();
            tokio::spawn(async move {
                match traps.acceptor.clone().filter(|_| called.port() == 443) {
                    Some(acceptor) => {
                        if let Ok(stream) = acceptor.accept(stream).await {
                            traps.answer(stream).await;
                        }
                    }
                    None => traps.answer(stream).await,
                }
            });
        }
    }

    /// Handles one request per connection. Answers `/redirect?STATUS+LOCATION` with that redirect
    /// (`%5C` is a backslash), `/loop` with one to itself, `/page` with the page, `/gone` with 403,
    /// and `/fail` with 500.
    async fn answer(self, mut stream: impl AsyncRead + AsyncWrite + Unpin) {
        let mut head = Vec::new();
        while !head.windows(4).any(|end| end == b"\r\n\r\n") {
            match stream.read_buf(&mut head).await {
                // This trap has no certificate.
                Ok(_) if head.first() == Some(&0x16) => return,
                Ok(read) if read > 0 && head.len() < 64 * 1024 => {}
                _ => return,
            }
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        let path = head.split(' ').nth(1).unwrap_or_default();
        let mut body: &[u8] = &[];
        let answer = match path
            .strip_prefix("/redirect?")
            .and_then(|query| query.split_once('+'))
        {
            Some((status, location)) => {
                let location = location.replace("%5C", "\\");
                format!("{status} Elsewhere\r\nlocation: {location}\r\ncontent-length: 0")
            }
            None if path.starts_with("/fail") => "500 Failed\r\ncontent-length: 0".to_owned(),
            None if path.starts_with("/gone") => "403 Gone\r\ncontent-length: 0".to_owned(),
            None if path.starts_with("/loop") => {
                "302 Again\r\nlocation: /loop\r\ncontent-length: 0".to_owned()
            }
            None if path.starts_with("/page") => {
                body = &self.page;
                format!("200 OK\r\ncontent-length: {}", body.len())
            }
            None => "204 No Content".to_owned(),
        };
        let answer = format!("HTTP/1.1 {answer}\r\nconnection: close\r\n\r\n");
        self.seen.lock().unwrap().heads.push(head);
        stream
            .write_all(&[answer.as_bytes(), body].concat())
            .await
            .ok();
        // TLS says that this is the end.
        stream.shutdown().await.ok();
    }
}
