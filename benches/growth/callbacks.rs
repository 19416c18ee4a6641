//! Sends callbacks of new tasks to a running receiver, many at once. Measures the time that each
//! takes, and the receiver's processor time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::ensure;
use evolink_receiver::clock::Clock;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::micros;
use super::receiver::Receiver;
use crate::fill::body;

/// Callbacks sent at once. About as many end up in one transaction.
const CONNECTIONS: usize = 256;

const WARM_UP: u64 = 5000;

const CALLBACKS: u64 = 40_000;

/// Callbacks sent so far, to any receiver.
static SENT: AtomicU64 = AtomicU64::new(0);

pub async fn send(receiver: &Receiver) -> anyhow::Result<[(&'static str, f64); 2]> {
    send_many(receiver, WARM_UP).await?;
    let (begun, cpu) = (Instant::now(), receiver.cpu_time()?);
    send_many(receiver, CALLBACKS).await?;
    let (took, cpu) = (begun.elapsed(), receiver.cpu_time()?.saturating_sub(cpu));
    let each = f64::from(u32::try_from(CALLBACKS)?);
    Ok([
        ("callback of a new task, 256 at once", micros(took) / each),
        (
            "the same, the receiver's processor time",
            micros(cpu) / each,
        ),
    ])
}

async fn send_many(receiver: &Receiver, count: u64) -> anyhow::Result<()> {
    let left = Arc::new(AtomicU64::new(count));
    let mut clients = JoinSet::new();
    for _ in 0..CONNECTIONS {
        clients.spawn(client(
            receiver.public,
            receiver.callback_path(),
            Arc::clone(&left),
        ));
    }
    while let Some(ended) = clients.join_next().await {
        ended??;
    }
    Ok(())
}

async fn client(address: SocketAddr, path: String, left: Arc<AtomicU64>) -> anyhow::Result<()> {
    let template = body().replace("#state#", "completed");
    let second = Clock::System.now().as_millis() / 1000;
    let mut answer = vec![0; 4096];
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let take = |left: u64| left.checked_sub(1);
    while left
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
        .is_ok()
    {
        let number = SENT.fetch_add(1, Ordering::Relaxed);
        // No two ids are equal, and they are almost in order of time, like EvoLink's.
        let id = format!(
            "task-unified-{second}-{:08x}",
            number * 2_654_435_761 % 4_294_967_296
        );
        let body = template.replace("#id#", &id);
        let length = body.len();
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).await?;
        let mut received = 0;
        while !answer[..received].ends_with(b"}") {
            let more = stream.read(&mut answer[received..]).await?;
            ensure!(more > 0, "the receiver hung up");
            received += more;
        }
        let text = String::from_utf8_lossy(&answer[..received]);
        ensure!(text.contains("\"recorded\""), "{text}");
        // The receiver limits the requests on one connection.
        if text.to_ascii_lowercase().contains("connection: close") {
            stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
        }
    }
    Ok(())
}
