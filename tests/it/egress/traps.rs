//! The servers in the lab. Every address in the world belongs to this machine, which listens on a
//! few ports. Each connection is recorded with the address that was called.

use std::collections::BTreeMap;
use std::net::{Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Duration, timeout};

use crate::support::machine::own_network::run;

/// The usual ports, and one more.
pub const PORTS: [u16; 3] = [80, 443, 8000];

/// The traps themselves call this address, to know that all earlier calls have been recorded.
const MARKER: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0xffff);

#[derive(Clone)]
pub struct Traps(Arc<Mutex<Seen>>);

#[derive(Default)]
struct Seen {
    called: BTreeMap<SocketAddr, u32>,
    heads: Vec<String>,
}

impl Traps {
    pub async fn set() -> Self {
        for family in ["-4", "-6"] {
            let everywhere = if family == "-4" { "0.0.0.0/0" } else { "::/0" };
            run(
                "ip",
                &[family, "route", "add", "local", everywhere, "dev", "lo"],
            );
        }
        let traps = Self(Arc::default());
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
                while self.0.lock().unwrap().called.remove(&marker).is_none() {
                    tokio::task::yield_now().await;
                }
            };
            timeout(Duration::from_secs(30), noted).await.unwrap();
        }
        let called = std::mem::take(&mut self.0.lock().unwrap().called);
        let called = called.into_iter();
        called
            .map(|(address, times)| (address.to_string(), times))
            .collect()
    }

    /// Heads of the requests since the last time.
    pub fn heads(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap().heads)
    }

    async fn listen(self, listener: TcpListener) {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let called = stream.local_addr().unwrap();
            let called = SocketAddr::new(called.ip().to_canonical(), called.port());
            *self.0.lock().unwrap().called.entry(called).or_default() += 1;
            tokio::spawn(self.clone().answer(stream));
        }
    }

    /// Handles one request per connection, without TLS. Answers `/redirect?STATUS+LOCATION` with
    /// that redirect, and `/fail` with 500.
    async fn answer(self, mut stream: TcpStream) {
        let mut head = Vec::new();
        while !head.windows(4).any(|end| end == b"\r\n\r\n") {
            match stream.read_buf(&mut head).await {
                // No trap has a certificate.
                Ok(_) if head.first() == Some(&0x16) => return,
                Ok(read) if read > 0 && head.len() < 64 * 1024 => {}
                _ => return,
            }
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        let path = head.split(' ').nth(1).unwrap_or_default();
        let answer = match path
            .strip_prefix("/redirect?")
            .and_then(|query| query.split_once('+'))
        {
            Some((status, location)) => {
                format!("{status} Elsewhere\r\nlocation: {location}\r\ncontent-length: 0")
            }
            None if path.starts_with("/fail") => "500 Failed\r\ncontent-length: 0".to_owned(),
            None => "204 No Content".to_owned(),
        };
        let answer = format!("HTTP/1.1 {answer}\r\nconnection: close\r\n\r\n");
        self.0.lock().unwrap().heads.push(head);
        stream.write_all(answer.as_bytes()).await.ok();
    }
}
