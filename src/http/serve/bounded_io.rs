//! A byte stream that neither side of a connection can block for ever. A write that makes no
//! progress fails after a timeout. Closing first discards, within bounds, what the peer still
//! sends: otherwise the kernel might send a reset and the peer would lose our last answer.
//!
//! hyper bounds the reading side with one timer for the head of a request and for the silence before
//! it. A head that has begun is bounded here, so that a connection may be idle for longer. Only a
//! head that begins before the answer to the request before it is bounded by hyper's timer alone.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::limits::Limits;
use super::progress::Progress;

/// Maximum number of bytes that are discarded before closing. A well-meaning client has less than
/// this in flight: one oversized callback, or the heads of a hundred requests.
const LINGER_BYTES_MAX: usize = 1024 * 1024;

pub struct BoundedIo<S> {
    stream: S,
    progress: Arc<Progress>,
    write_timeout: Duration,
    linger_timeout: Duration,
    head_timeout: Duration,
    /// Set while a head is awaited that must be complete soon.
    head_deadline: Option<Pin<Box<Sleep>>>,
    /// The requests whose heads have come.
    heads: usize,
    /// Set while a write makes no progress.
    write_deadline: Option<Pin<Box<Sleep>>>,
    /// Set once our sending side is closed.
    linger_deadline: Option<Pin<Box<Sleep>>>,
    lingered_bytes: usize,
}

impl<S> BoundedIo<S> {
    pub fn new(stream: S, progress: Arc<Progress>, limits: &Limits) -> Self {
        Self {
            stream,
            progress,
            write_timeout: limits.write_timeout,
            linger_timeout: limits.linger_timeout,
            head_timeout: limits.head_timeout,
            // The first head is waited for.
            head_deadline: Some(Box::pin(sleep(limits.head_timeout))),
            heads: 0,
            write_deadline: None,
            linger_deadline: None,
            lingered_bytes: 0,
        }
    }

    /// Returns `outcome` of a write, or an error if writes have been pending for longer than the
    /// timeout.
    fn bound<T>(
        &mut self,
        outcome: Poll<io::Result<T>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.write_deadline = None;
            self.progress.set_write_stuck(false);
            return outcome;
        }
        self.progress.set_write_stuck(true);
        let timeout = self.write_timeout;
        let deadline = self
            .write_deadline
            .get_or_insert_with(|| Box::pin(sleep(timeout)));
        ready!(deadline.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> BoundedIo<S> {
    /// Reads and discards until the peer closes, the timeout expires, or `LINGER_BYTES_MAX` is
    /// reached.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let timeout = self.linger_timeout;
        let deadline = self
            .linger_deadline
            .get_or_insert_with(|| Box::pin(sleep(timeout)));
        if deadline.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let mut scratch = [0; 4096];
        while self.lingered_bytes < LINGER_BYTES_MAX {
            let mut buffer = ReadBuf::new(&mut scratch);
            let read = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer));
            if read.is_err() || buffer.filled().is_empty() {
                break;
            }
            self.lingered_bytes += buffer.filled().len();
        }
        Poll::Ready(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for BoundedIo<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let filled = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        let heads = self.progress.requests();
        if heads != self.heads || self.progress.is_in_request() {
            self.heads = heads;
            self.head_deadline = None;
        }
        if self.progress.is_in_request() {
            return read;
        }
        if buffer.filled().len() > filled && self.head_deadline.is_none() {
            self.head_deadline = Some(Box::pin(sleep(self.head_timeout)));
        }
        if let Some(deadline) = &mut self.head_deadline
            && deadline.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        read
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for BoundedIo<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.bound(outcome, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.bound(outcome, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_flush(cx);
        self.bound(outcome, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.linger_deadline.is_none() {
            let outcome = Pin::new(&mut self.stream).poll_shutdown(cx);
            ready!(self.bound(outcome, cx))?;
        }
        self.poll_linger(cx).map(Ok)
    }
}
