//! The simulator's accept loop. It is our own because a handler must be able to reset its
//! connection, which no ready-made server allows. On shutdown, connections end within `STOP_GRACE`.

use std::sync::Arc;
use std::time::Duration;

use axum::response::Response;
use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

pub(super) const CONNECTIONS_MAX: usize = 4096;
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
const STOP_GRACE: Duration = Duration::from_secs(1);
/// The delay after a failed accept, which is mostly caused by a lack of file descriptors.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// Lets a handler reset the connection that its request came on.
#[derive(Clone)]
pub(super) struct ConnectionReset(CancellationToken);

impl ConnectionReset {
    /// Resets the connection. Never returns: this future is dropped together with the connection.
    pub(super) async fn now(self) -> Response {
        self.0.cancel();
        std::future::pending().await
    }
}

pub(super) async fn serve(
    listener: TcpListener,
    router: Router,
    stop: CancellationToken,
    workers: TaskTracker,
) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let accept_one = async || {
        let permit = Arc::clone(&permits).acquire_owned().await.ok()?;
        match listener.accept().await {
            Ok((stream, _)) => Some((stream, permit)),
            Err(error) => {
                warn!(%error, "simulator could not accept a connection");
                tokio::time::sleep(ACCEPT_BACKOFF).await;
                None
            }
        }
    };
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = accept_one() => accepted,
        };
        let Some((stream, permit)) = accepted else {
            continue;
        };
        let connection = serve_connection(stream, router.clone(), stop.clone());
        workers.spawn(async move {
            connection.await;
            drop(permit);
        });
    }
}

async fn serve_connection(stream: TcpStream, router: Router, stop: CancellationToken) {
    // Without this, Nagle's algorithm holds small responses back until the client acknowledges.
    stream.set_nodelay(true).ok();
    let reset = CancellationToken::new();
    let router = router.layer(Extension(ConnectionReset(reset.clone())));
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .half_close(true)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = reset.cancelled() => {
            let stream = connection.into_parts().io.into_inner();
            stream.set_zero_linger().ok();
            return;
        }
        () = stop.cancelled() => {
            std::pin::Pin::new(&mut connection).graceful_shutdown();
            tokio::time::timeout(STOP_GRACE, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        debug!(%error, "simulator's connection ended early");
    }
}
