//! Whether the client of a connection is still connected, as the socket knows it.
//!
//! hyper finds that out by reading. It does not read while bytes that follow the request (a stray
//! line break, a pipelined request) wait in its buffer, so it does not see then that the connection
//! has closed. The socket is asked directly instead.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// A byte stream over a TCP connection.
pub trait OverTcp: Send {
    fn tcp(&self) -> &TcpStream;
}

impl OverTcp for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

impl OverTcp for Box<TlsStream<TcpStream>> {
    fn tcp(&self) -> &TcpStream {
        self.get_ref().0
    }
}

/// A byte stream that hyper reads and writes, and whose socket others can look at.
pub struct SharedStream<S>(Arc<Mutex<S>>);

/// The client of one connection. Cheap to clone; does not keep the connection open.
#[derive(Clone)]
pub struct Peer(Weak<Mutex<dyn OverTcp>>);

impl<S: OverTcp + 'static> SharedStream<S> {
    pub fn new(stream: S) -> Self {
        Self(Arc::new(Mutex::new(stream)))
    }

    pub fn peer(&self) -> Peer {
        let stream: Arc<Mutex<dyn OverTcp>> = self.0.clone();
        Peer(Arc::downgrade(&stream))
    }
}

impl Peer {
    /// Whether the client has closed the connection, or its sending side. Unread bytes before the
    /// end do not matter.
    pub fn is_gone(&self) -> bool {
        let Some(stream) = self.0.upgrade() else {
            return true;
        };
        let stream = stream.lock().unwrap_or_else(PoisonError::into_inner);
        let ends = PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR;
        let mut sockets = [PollFd::new(stream.tcp(), ends)];
        let at_once = Timespec::default();
        // A question that fails says nothing about the client.
        poll(&mut sockets, Some(&at_once)).is_ok() && sockets[0].revents().intersects(ends)
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Peer")
    }
}

impl<S> SharedStream<S> {
    /// Nobody holds it for longer than one system call.
    fn lock(&self) -> MutexGuard<'_, S> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for SharedStream<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.lock()).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for SharedStream<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.lock()).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.lock()).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.lock().is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.lock()).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.lock()).poll_shutdown(cx)
    }
}
