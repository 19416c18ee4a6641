//! Readers of the event stream.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, bail, ensure};
use memchr::memmem;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::arrivals::Arrivals;
use crate::connection::Endpoint;

/// The most bytes to read at once.
const READ_BYTES: usize = 64 * 1024;

/// A connected reader that starts at the newest event.
pub struct Stream {
    tcp: TcpStream,
    /// Bytes received but not decoded yet.
    raw: Vec<u8>,
    /// The rest of the current chunk, with its CRLF.
    left: usize,
    text: Vec<u8>,
}

/// The totals that a crowd of readers has read.
#[derive(Clone, Debug, Default)]
pub struct Read {
    pub events: Arc<AtomicUsize>,
    pub bytes: Arc<AtomicUsize>,
}

impl Stream {
    /// Opens a stream. `query` includes its question mark.
    pub async fn open(endpoint: &Endpoint, query: &str) -> anyhow::Result<Self> {
        let mut tcp = TcpStream::connect(endpoint.address).await?;
        tcp.set_nodelay(true)?;
        let request = format!(
            "GET /v1/events{query} HTTP/1.1\r\nhost: 127.0.0.1\r\naccept: text/event-stream\r\n\r\n"
        );
        tcp.write_all(request.as_bytes()).await?;
        let mut raw = Vec::with_capacity(1024);
        let head_bytes = loop {
            if let Some(at) = memmem::find(&raw, b"\r\n\r\n") {
                break at + 4;
            }
            ensure!(tcp.read_buf(&mut raw).await? > 0, "no head of a stream");
        };
        let head = String::from_utf8_lossy(&raw[..head_bytes]).to_lowercase();
        ensure!(head.starts_with("http/1.1 200"), "no stream: {head}");
        ensure!(head.contains("chunked"), "a stream without chunks: {head}");
        raw.drain(..head_bytes);
        Ok(Self {
            tcp,
            raw,
            left: 0,
            text: Vec::new(),
        })
    }

    /// Records the tasks of all events, until it is dropped.
    pub async fn note(mut self, arrivals: Arrivals) -> anyhow::Result<()> {
        loop {
            while let Some(end) = memmem::find(&self.text, b"\n\n") {
                arrivals.note(&self.text[..end]);
                self.text.drain(..end + 2);
            }
            self.receive(4096).await?;
            self.decode()?;
        }
    }

    /// Only counts the events, because a thousand readers must cost little beyond the reading
    /// itself.
    pub async fn count(mut self, read: Read) -> anyhow::Result<()> {
        loop {
            self.decode()?;
            let mut from = 0;
            while let Some(at) = memmem::find(&self.text[from..], b"\n\n") {
                from += at + 2;
                read.events.fetch_add(1, Ordering::Relaxed);
            }
            self.text.drain(..from);
            let bytes = self.receive(READ_BYTES).await?;
            read.bytes.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    async fn receive(&mut self, bytes: usize) -> anyhow::Result<usize> {
        self.raw.reserve(bytes);
        match self.tcp.read_buf(&mut self.raw).await? {
            0 => bail!("the stream has ended"),
            bytes => Ok(bytes),
        }
    }

    /// Decodes the chunks, each `LENGTH CRLF BYTES CRLF`.
    fn decode(&mut self) -> anyhow::Result<()> {
        let mut at = 0;
        loop {
            let rest = &self.raw[at..];
            if self.left > 2 {
                let here = rest.len().min(self.left - 2);
                self.text.extend_from_slice(&rest[..here]);
                self.left -= here;
                at += here;
            }
            let rest = &self.raw[at..];
            if self.left == 2 {
                if rest.len() < 2 {
                    break;
                }
                self.left = 0;
                at += 2;
            } else if self.left == 0 {
                let Some(end) = memmem::find(rest, b"\r\n") else {
                    break;
                };
                let digits = std::str::from_utf8(&rest[..end])?;
                let bytes = usize::from_str_radix(digits, 16).context("no chunk")?;
                ensure!(bytes > 0, "the stream has ended");
                self.left = bytes + 2;
                at += end + 2;
            } else {
                break;
            }
        }
        self.raw.drain(..at);
        Ok(())
    }
}
