//! The serve loop of both listeners: accepts connections within the caps, performs TLS handshakes
//! within their timeout, and drains on shutdown. It ends only on shutdown: no client error and no
//! lack of file descriptors stops it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use super::admission::{Admission, ConnectionPermit};
use super::connection::serve_connection;
use super::handshake::Tls;
use super::limits::Limits;
use crate::observe::throttle::Throttle;

/// Pause after a failed accept. It is long enough not to spin while file descriptors are short, and
/// short enough to go unnoticed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Minimum time between two warnings about the same problem.
const WARNING_INTERVAL: Duration = Duration::from_secs(10);

struct Server {
    tls: Option<Tls>,
    limits: Limits,
    router: Router,
    shutdown: CancellationToken,
    /// Cancelled when the drain timeout expires. Connections then drop what they are doing.
    abort: CancellationToken,
}

/// Serves `router` on `listener` until `shutdown`. Then accepts no more connections, lets requests
/// finish for at most `drain`, and returns once every connection is closed. Dropping this future
/// aborts its connections.
pub async fn serve(
    listener: TcpListener,
    tls: Option<Tls>,
    limits: Limits,
    router: Router,
    shutdown: CancellationToken,
    drain: Duration,
) -> anyhow::Result<()> {
    let address = listener
        .local_addr()
        .context("could not read the listener's own address")?;
    let abort = CancellationToken::new();
    let _abort_if_dropped = abort.clone().drop_guard();
    let connections = TaskTracker::new();
    let server = Arc::new(Server {
        tls,
        limits,
        router,
        shutdown,
        abort: abort.clone(),
    });

    accept_until_shutdown(&listener, &server, &connections).await;
    // Close the listener before draining, so that clients in its backlog fail fast and can go
    // elsewhere.
    drop(listener);
    connections.close();
    if timeout(drain, connections.wait()).await.is_err() {
        let unfinished = connections.len();
        warn!(
            connections = unfinished,
            "aborting {unfinished} connections of {address} that did not finish in time"
        );
        abort.cancel();
        connections.wait().await;
    }
    info!("listener {address} is closed");
    Ok(())
}

async fn accept_until_shutdown(
    listener: &TcpListener,
    server: &Arc<Server>,
    connections: &TaskTracker,
) {
    let admission = Admission::new(&server.limits);
    let mut admission_trouble = Throttle::every(WARNING_INTERVAL);
    let mut accept_trouble = Throttle::every(WARNING_INTERVAL);
    loop {
        let accepted = tokio::select! {
            biased;
            () = server.shutdown.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                if let Some(permit) = admission.try_admit(peer.ip()) {
                    connections.spawn(Arc::clone(server).serve_stream(stream, peer, permit));
                } else if let Some(times) = admission_trouble.pass() {
                    warn!(client.address = %peer, times, "too many connections: closed one of {peer}");
                }
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                if let Some(times) = accept_trouble.pass() {
                    warn!(error = %error, times, "could not accept a connection: {error}");
                }
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Whether the client disconnected before its connection was accepted. All other errors (no file
/// descriptors, no memory) affect every connection.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    )
}

impl Server {
    async fn serve_stream(
        self: Arc<Self>,
        stream: TcpStream,
        peer: SocketAddr,
        permit: ConnectionPermit,
    ) {
        // This fails only if the connection is already gone, which the next read will show.
        let _ = stream.set_nodelay(true);
        tokio::select! {
            () = self.abort.cancelled() => {}
            () = self.serve_admitted(stream, peer) => {}
        }
        drop(permit);
    }

    /// Each branch has its own box, so that a plain connection uses only the memory that it needs:
    /// with TLS it is four times as much.
    async fn serve_admitted(&self, stream: TcpStream, peer: SocketAddr) {
        let (router, limits) = (self.router.clone(), &self.limits);
        let Some(tls) = &self.tls else {
            let serving = serve_connection(stream, peer, router, limits, &self.shutdown);
            return Box::pin(serving).await;
        };
        let time_max = limits.handshake_timeout;
        let shaking = Box::pin(tls.shake_hands(stream, peer, time_max));
        // No request has been received yet, so nothing is lost.
        let shaken = self.shutdown.run_until_cancelled(shaking).await;
        if let Some(Some(stream)) = shaken {
            let serving = serve_connection(stream, peer, router, limits, &self.shutdown);
            Box::pin(serving).await;
        }
    }
}
