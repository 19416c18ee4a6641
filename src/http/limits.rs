//! Every limit of the serve loop, in one place. Values are defaults of RELIABILITY T5 and B2; `app` takes a preset, tests
//! shorten single fields.

use std::time::Duration;

/// What one listener grants its clients. A limit that is reached closes the connection, never the listener.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections at once; one more is closed as soon as it is accepted.
    pub connections_max: usize,
    /// Connections at once from one IPv4 address or one IPv6 /64.
    pub connections_per_address_max: usize,
    /// From accept to the end of the TLS handshake.
    pub handshake_timeout: Duration,
    /// From the moment a connection waits for a request to the end of that request's head. This is also how long an idle
    /// connection is kept: hyper has one clock for both.
    pub head_timeout: Duration,
    /// From the head of a request to the head of its answer, the request's body included; past it the answer is a 503.
    /// `None` where answers may wait for an event.
    pub request_timeout: Option<Duration>,
    /// How long one write may be stuck in a client that does not read.
    pub write_timeout: Duration,
    /// How long we go on discarding what a client still sends after our last answer. Closing at once would make the kernel
    /// send a reset, and the client might never see that answer.
    pub linger_timeout: Duration,
    /// The last of so many requests is answered with `Connection: close`.
    pub requests_per_connection_max: usize,
    /// Whether a client may close its sending side after a request and still have the answer. Where it may not, one that
    /// does so counts as gone, and what was being done for it is dropped at once. From here the two look the same.
    pub half_close: bool,
    /// Request line and headers together, in bytes; more is a 431. At least 8 KiB, hyper's own minimum.
    pub head_bytes_max: usize,
    /// Header lines; more is a 431.
    pub head_lines_max: usize,
}

impl Limits {
    /// For the listener that EvoLink, and everybody else, reaches. The request timeout is under the 10 s after which
    /// EvoLink gives up. A quarter of the connections stays out of reach of any single address; not more, since a proxy in
    /// front is one address too.
    pub fn public() -> Self {
        Self {
            connections_max: 2048,
            connections_per_address_max: 1536,
            handshake_timeout: Duration::from_secs(10),
            head_timeout: Duration::from_secs(5),
            request_timeout: Some(Duration::from_secs(8)),
            write_timeout: Duration::from_secs(10),
            linger_timeout: Duration::from_secs(1),
            requests_per_connection_max: 100,
            half_close: true,
            head_bytes_max: 16 * 1024,
            head_lines_max: 100,
        }
    }

    /// For apps and operators: waiting queries (up to 60 s) and event streams have no deadline here, and a connection pool
    /// may keep its connections for longer. Who hangs up while it waits makes room at once; submits do not run in their
    /// connection, and apps do not close half of it.
    pub fn internal() -> Self {
        Self {
            head_timeout: Duration::from_secs(15),
            request_timeout: None,
            write_timeout: Duration::from_secs(30),
            requests_per_connection_max: 10_000,
            half_close: false,
            ..Self::public()
        }
    }
}
