//! One connection from the end of its handshake to its close: runs hyper with every limit set and
//! shuts it down in order. `listener` calls this for each accepted socket.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::bounded_io::BoundedIo;
use super::framing;
use super::limits::Limits;
use super::peer::{OverTcp, Peer, SharedStream};
use super::progress::Progress;

/// Time that a connection without a request has, on shutdown, to complete a request head that it
/// may have begun.
const HEAD_GRACE: Duration = Duration::from_millis(500);

/// How often the client of a request under way is looked for, if it may not close half of its
/// connection. Usually hyper notices at once that it has left.
const PEER_INTERVAL: Duration = Duration::from_secs(1);

/// Answers requests from `stream` until either side closes. After `shutdown`, still answers the
/// current request. The caller decides how long that may take: it can drop this future at any time.
pub async fn serve_connection<S>(
    stream: S,
    peer: SocketAddr,
    router: Router,
    limits: &Limits,
    shutdown: &CancellationToken,
) where
    S: AsyncRead + AsyncWrite + OverTcp + Unpin + 'static,
{
    let progress = Arc::new(Progress::default());
    let stream = SharedStream::new(stream);
    let client = stream.peer();
    let stream = TokioIo::new(BoundedIo::new(stream, Arc::clone(&progress), limits));
    let service = service_fn(|request| {
        framing::answer(request, (peer, &client), router.clone(), limits, &progress)
    });
    let mut connection = pin!(http1_builder(limits).serve_connection(stream, service));

    let left = pin!(until_gone(&client, &progress, limits));
    tokio::select! {
        end = connection.as_mut() => return log_end(peer, end),
        () = left => return debug!(client.address = %peer, "{peer} left before its answer"),
        () = shutdown.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    tokio::select! {
        end = connection.as_mut() => return log_end(peer, end),
        () = sleep(HEAD_GRACE) => {}
    }
    // The connection is still open: either a request is being answered, or a head arrives slowly. A
    // slow head must not delay the shutdown.
    if progress.is_busy() {
        log_end(peer, connection.await);
    }
}

/// Returns once the client has left a request that is under way. Never does so where a client may
/// close its sending side and still wait.
async fn until_gone(client: &Peer, progress: &Progress, limits: &Limits) {
    if limits.half_close {
        return std::future::pending().await;
    }
    loop {
        sleep(PEER_INTERVAL).await;
        if progress.is_in_request() && client.is_gone() {
            return;
        }
    }
}

fn http1_builder(limits: &Limits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        // hyper's timeouts have no effect without a timer.
        .timer(TokioTimer::new())
        // It runs while a connection is idle, too. `BoundedIo` bounds the head more tightly.
        .header_read_timeout(limits.idle_timeout.max(limits.head_timeout))
        .half_close(limits.half_close)
        .max_headers(limits.head_lines_max)
        .max_header_size(limits.head_bytes_max)
        .max_buf_size(limits.head_bytes_max);
    builder
}

fn log_end(peer: SocketAddr, end: hyper::Result<()>) {
    if let Err(error) = end {
        // Timeouts, resets and malformed heads are normal on the internet.
        debug!(client.address = %peer, error = %error, "connection of {peer} ended early: {error}");
    }
}
