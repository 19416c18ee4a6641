//! All limits of the serve loop. `app` uses one of the presets; tests shorten single fields.

use std::time::Duration;

/// The limits of one listener for its clients. Reaching a limit affects one request or its
/// connection, never the listener.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Open connections. One more is closed as soon as it is accepted.
    pub connections_max: usize,
    /// Open connections from one IPv4 address or one IPv6 /64.
    pub connections_per_address_max: usize,
    /// Time from accept to the end of the TLS handshake.
    pub handshake_timeout: Duration,
    /// Time for the complete head of a request, from its first byte on, or for the first request
    /// from the start of the connection on.
    pub head_timeout: Duration,
    /// Time that a connection is kept open between two requests. Answers announce it.
    pub idle_timeout: Duration,
    /// Time from the head of a request to the head of its answer, including the arrival of the
    /// body. After it the answer is a 503. `None` if answers may wait for an event.
    pub request_timeout: Option<Duration>,
    /// Time that one write may block because the client does not read.
    pub write_timeout: Duration,
    /// Time during which we discard what a client still sends after our last answer. If we closed
    /// at once, the kernel would send a reset, and the client might never see that answer.
    pub linger_timeout: Duration,
    /// Requests on one connection. The last of them is answered with `Connection: close`.
    pub requests_per_connection_max: usize,
    /// Whether a client may close its sending side after a request and still get the answer. If
    /// not, such a client counts as disconnected and its request is dropped at once. The server
    /// cannot tell the two apart.
    pub half_close: bool,
    /// Request line and headers together, in bytes; more is a 431. hyper needs at least 8 KiB.
    pub head_bytes_max: usize,
    /// Header lines; more is a 431.
    pub head_lines_max: usize,
}

impl Limits {
    /// Limits of the public listener, which EvoLink and everyone else can reach.
    ///
    /// The request timeout is below the 10 s after which EvoLink gives up. One address can take at
    /// most three quarters of the connections. It is not less, because a proxy in front is one
    /// address too.
    pub fn public() -> Self {
        Self {
            connections_max: 2048,
            connections_per_address_max: 1536,
            handshake_timeout: Duration::from_secs(10),
            head_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(5),
            request_timeout: Some(Duration::from_secs(8)),
            write_timeout: Duration::from_secs(10),
            linger_timeout: Duration::from_secs(1),
            requests_per_connection_max: 100,
            half_close: true,
            head_bytes_max: 16 * 1024,
            head_lines_max: 100,
        }
    }

    /// Limits of the internal listener, for apps and operators.
    ///
    /// There is no request timeout, because queries may wait (up to 50 s) and event streams stay
    /// open. Connection pools may keep idle connections for longer. A client that disconnects while
    /// it waits frees its permit at once. That loses nothing: submits do not run in their
    /// connection, and apps do not half-close it.
    pub fn internal() -> Self {
        Self {
            head_timeout: Duration::from_secs(15),
            idle_timeout: Duration::from_secs(75),
            request_timeout: None,
            write_timeout: Duration::from_secs(30),
            requests_per_connection_max: 10_000,
            half_close: false,
            ..Self::public()
        }
    }
}
