//! A gateway between the receiver and EvoLink: passes connections on, or answers polls itself.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

const HEAD_BYTES_MAX: usize = 16 * 1024;

pub struct Gateway {
    pub url: String,
    passes_polls: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    /// Stops with the gateway, and so do its connections.
    _worker: JoinSet<()>,
}

impl Gateway {
    /// Passes submits on to `evolink`, and answers polls with `page` until `recover` is called.
    pub async fn start(evolink: SocketAddr, page: Vec<u8>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let passes_polls = Arc::new(AtomicBool::new(false));
        let answered = Arc::new(AtomicUsize::new(0));
        let (passes, count) = (Arc::clone(&passes_polls), Arc::clone(&answered));
        let mut worker = JoinSet::new();
        worker.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (page, passes, count) = (page.clone(), Arc::clone(&passes), Arc::clone(&count));
                connections.spawn(async move {
                    let _ = serve(stream, evolink, &page, &passes, &count).await;
                });
            }
        });
        Self {
            url,
            passes_polls,
            answered,
            _worker: worker,
        }
    }

    pub fn recover(&self) {
        self.passes_polls.store(true, Ordering::Relaxed);
    }

    /// Polls that the gateway answered itself.
    pub fn answered(&self) -> usize {
        self.answered.load(Ordering::Relaxed)
    }
}

async fn serve(
    mut stream: TcpStream,
    evolink: SocketAddr,
    page: &[u8],
    passes_polls: &AtomicBool,
    answered: &AtomicUsize,
) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") && head.len() < HEAD_BYTES_MAX {
        if stream.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    if head.starts_with(b"GET ") && !passes_polls.load(Ordering::Relaxed) {
        answered.fetch_add(1, Ordering::Relaxed);
        stream.write_all(page).await?;
        return stream.shutdown().await;
    }
    let mut upstream = TcpStream::connect(evolink).await?;
    upstream.write_all(&head).await?;
    copy_bidirectional(&mut stream, &mut upstream).await?;
    Ok(())
}
