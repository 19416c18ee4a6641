//! A proxy between a test and its server, which fails as the test says.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::sleep;

pub struct Proxy {
    address: SocketAddr,
    server: SocketAddr,
    /// Ends with the test.
    tasks: JoinSet<()>,
}

#[derive(Clone, Copy, Debug)]
pub enum Fault {
    None,
    /// The server is killed after these bytes: its connections and its port are closed.
    KilledAfterSent(u64),
    KilledAfterReceived(u64),
    /// The server is silent after these bytes, on all connections.
    SilentAfterSent(u64),
    SilentAfterReceived(u64),
    /// 64 KiB in this time, in each direction.
    Slow(Duration),
}

/// The state that all connections share.
struct Line {
    fault: Fault,
    sent: AtomicU64,
    received: AtomicU64,
    killed: Notify,
}

impl Proxy {
    pub async fn start(server: SocketAddr, fault: Fault) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(run(listener, server, fault));
        Self {
            address,
            server,
            tasks,
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Starts the server again, on the same port and without a fault.
    pub async fn restart(&mut self) {
        self.tasks.shutdown().await;
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.tasks.spawn(run(listener, self.server, Fault::None));
    }

    /// Waits until the server is killed.
    pub async fn until_killed(&mut self) {
        self.tasks.join_next().await;
    }
}

async fn run(listener: TcpListener, server: SocketAddr, fault: Fault) {
    let line = Arc::new(Line {
        fault,
        sent: AtomicU64::new(0),
        received: AtomicU64::new(0),
        killed: Notify::new(),
    });
    // Dropped at the end, and all connections with it.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = line.killed.notified() => return,
            accepted = listener.accept() => {
                let (client, _) = accepted.unwrap();
                connections.spawn(connect(client, server, Arc::clone(&line)));
            }
        }
    }
}

async fn connect(client: TcpStream, server: SocketAddr, line: Arc<Line>) {
    let server = TcpStream::connect(server).await.unwrap();
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    // Either side may hang up at any time.
    let _ = tokio::try_join!(
        line.copy(from_client, to_server, &line.sent, true),
        line.copy(from_server, to_client, &line.received, false),
    );
}

impl Line {
    async fn copy(
        &self,
        mut from: impl AsyncRead + Unpin,
        mut to: impl AsyncWrite + Unpin,
        bytes: &AtomicU64,
        is_sent: bool,
    ) -> std::io::Result<()> {
        let mut block = vec![0; 64 * 1024];
        loop {
            let length = from.read(&mut block).await?;
            if length == 0 {
                return to.shutdown().await;
            }
            let total = bytes.fetch_add(length as u64, Ordering::Relaxed) + length as u64;
            match (self.fault, is_sent) {
                (Fault::KilledAfterSent(limit), true)
                | (Fault::KilledAfterReceived(limit), false)
                    if total > limit =>
                {
                    self.killed.notify_one();
                    std::future::pending::<()>().await;
                }
                (Fault::SilentAfterSent(limit), true)
                | (Fault::SilentAfterReceived(limit), false)
                    if total > limit =>
                {
                    std::future::pending::<()>().await;
                }
                (Fault::Slow(pause), _) => sleep(pause).await,
                _ => {}
            }
            to.write_all(&block[..length]).await?;
        }
    }
}
