//! Webhook endpoints: one that responds as it should, and bad ones that must not delay a forwarder.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use memchr::memmem;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::arrivals::Arrivals;

/// The behaviour of an endpoint when it gets a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    TakesIt,
    NeverAnswers,
    /// Sends one byte of the response every 100 ms.
    Drips,
    /// Sends a response of ten gigabytes.
    Endless,
    Redirects,
    Gone,
}

impl Manner {
    pub const BAD: [Self; 5] = [
        Self::NeverAnswers,
        Self::Drips,
        Self::Endless,
        Self::Redirects,
        Self::Gone,
    ];
}

/// A running endpoint. Stops when it is dropped.
pub struct Sink {
    pub address: SocketAddr,
    pub arrivals: Arrivals,
    _accepting: JoinSet<()>,
}

impl Sink {
    pub async fn open(manner: Manner) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let arrivals = Arrivals::default();
        let mut accepting = JoinSet::new();
        let heard = arrivals.clone();
        accepting.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((tcp, _)) = listener.accept().await {
                let heard = heard.clone();
                connections.spawn(async move {
                    let _ = serve(tcp, manner, &heard).await;
                });
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self {
            address,
            arrivals,
            _accepting: accepting,
        })
    }
}

/// Returns the TOML tables that configure these endpoints for completed tasks.
pub fn tables(sinks: &[Sink], folder: &Path) -> anyhow::Result<String> {
    let secret = folder.join("endpoint.whsec");
    std::fs::write(&secret, format!("whsec_{}\n", STANDARD.encode([7; 32])))?;
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&secret, mode)?;
    let secret = secret.display();
    let tables = sinks.iter().enumerate().map(|(number, sink)| {
        let address = sink.address;
        format!(
            "[[forward.endpoints]]\nname = \"sink-{number}\"\nurl = \"http://{address}/evolink\"\n\
             secret_file = \"{secret}\"\nevents = [\"task.completed\"]\n"
        )
    });
    Ok(tables.collect())
}

/// Serves one connection for as long as the client keeps it.
async fn serve(mut tcp: TcpStream, manner: Manner, arrivals: &Arrivals) -> std::io::Result<()> {
    tcp.set_nodelay(true)?;
    let mut received = Vec::with_capacity(8192);
    loop {
        let Some(body) = receive(&mut tcp, &mut received).await? else {
            return Ok(());
        };
        arrivals.note(&body);
        answer(&mut tcp, manner).await?;
    }
}

/// Returns the body of the next request, or `None` at the end of the connection.
async fn receive(tcp: &mut TcpStream, received: &mut Vec<u8>) -> std::io::Result<Option<Vec<u8>>> {
    loop {
        if let Some(head) = memmem::find(received, b"\r\n\r\n").map(|at| at + 4) {
            let text = String::from_utf8_lossy(&received[..head]).to_lowercase();
            let length = text
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "));
            let bytes: usize = length.and_then(|length| length.parse().ok()).unwrap_or(0);
            if received.len() >= head + bytes {
                let body = received[head..head + bytes].to_vec();
                received.drain(..head + bytes);
                return Ok(Some(body));
            }
        }
        if tcp.read_buf(received).await? == 0 {
            return Ok(None);
        }
    }
}

async fn answer(tcp: &mut TcpStream, manner: Manner) -> std::io::Result<()> {
    const LARGE: &[u8] = &[b'x'; 64 * 1024];
    match manner {
        Manner::TakesIt => {
            tcp.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                .await
        }
        Manner::NeverAnswers => loop {
            sleep(Duration::from_hours(1)).await;
        },
        Manner::Drips => {
            tcp.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")
                .await?;
            loop {
                tcp.write_all(b"x").await?;
                sleep(Duration::from_millis(100)).await;
            }
        }
        Manner::Endless => {
            tcp.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10000000000\r\n\r\n")
                .await?;
            loop {
                tcp.write_all(LARGE).await?;
            }
        }
        Manner::Redirects => {
            let head =
                b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:9/\r\ncontent-length: 0\r\n\r\n";
            tcp.write_all(head).await
        }
        Manner::Gone => {
            tcp.write_all(b"HTTP/1.1 410 Gone\r\ncontent-length: 0\r\n\r\n")
                .await
        }
    }
}
