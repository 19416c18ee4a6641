//! A small server behind the real serve loop, with handlers that use the same tools as the real
//! ones.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use evolink_receiver::clock::Clock;
use evolink_receiver::http::serve::body::{BodyBudget, BodyError, declared_length, read_body};
use evolink_receiver::http::serve::handshake::{Failures, Tls};
use evolink_receiver::http::serve::limits::Limits;
use evolink_receiver::http::serve::listener::serve;
use evolink_receiver::http::tls::TlsSource;
use evolink_receiver::observe::callback_path::CallbackPath;
use evolink_receiver::observe::metrics::Metrics;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::raw::RawClient;
use crate::support::until::until;

pub const HELLO: &str = "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n";
pub const GATED: &str = "GET /gated HTTP/1.1\r\nHost: a\r\n\r\n";
/// Declares more bytes than it sends.
pub const HALF_BODY: &str = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhello";

pub const BODY_BYTES_MAX: usize = 256 * 1024;

pub struct EchoServer {
    pub address: SocketAddr,
    pub tls: Option<Arc<TlsSource>>,
    pub handlers: Arc<Handlers>,
    pub metrics: Metrics,
    pub shutdown: CancellationToken,
    pub served: JoinHandle<anyhow::Result<()>>,
}

pub struct Handlers {
    /// Requests that reached a handler.
    pub reached: AtomicUsize,
    /// `GET /gated` answers when it gets a permit.
    pub gate: Semaphore,
    body_time_max: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    Plain,
    Tls,
}

impl EchoServer {
    pub async fn start(transport: Transport, limits: Limits) -> Self {
        Self::start_with(
            transport,
            limits,
            Duration::from_secs(5),
            Duration::from_secs(5),
        )
        .await
    }

    pub async fn start_with(
        transport: Transport,
        limits: Limits,
        body_time_max: Duration,
        drain: Duration,
    ) -> Self {
        let tls = match transport {
            Transport::Plain => None,
            Transport::Tls => {
                let source = TlsSource::self_signed(&["localhost".to_owned()], Clock::System);
                Some(Arc::new(source.expect("a certificate")))
            }
        };
        Self::start_tls(tls, limits, body_time_max, drain).await
    }

    pub async fn start_tls(
        tls: Option<Arc<TlsSource>>,
        limits: Limits,
        body_time_max: Duration,
        drain: Duration,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let handlers = Arc::new(Handlers {
            reached: AtomicUsize::new(0),
            gate: Semaphore::new(0),
            body_time_max,
        });
        let shutdown = CancellationToken::new();
        let metrics = Metrics::new();
        let serving = serve(
            listener,
            tls.clone().map(|source| Tls {
                source,
                failures: Failures::Callbacks(CallbackPath::new(metrics.clone())),
            }),
            limits,
            router(Arc::clone(&handlers)),
            shutdown.clone(),
            drain,
        );
        Self {
            address,
            tls,
            handlers,
            metrics,
            shutdown,
            served: tokio::spawn(serving),
        }
    }

    pub async fn connect(&self) -> RawClient {
        match &self.tls {
            None => RawClient::connect_plain(self.address).await,
            Some(tls) => {
                RawClient::connect_tls(self.address, &tls.certificate_pem(), "localhost").await
            }
        }
    }

    pub fn reached(&self) -> usize {
        self.handlers.reached.load(Ordering::SeqCst)
    }

    pub async fn wait_until_reached(&self, count: usize) {
        let what = format!("request {count} at a handler");
        until(&what, || self.reached() >= count).await;
    }
}

fn router(handlers: Arc<Handlers>) -> Router {
    Router::new()
        .route("/echo", post(echo))
        .route("/hello", get(hello))
        .route("/gated", get(gated))
        .route("/big", get(big))
        .with_state(handlers)
}

async fn echo(State(handlers): State<Arc<Handlers>>, headers: HeaderMap, body: Body) -> Response {
    handlers.reached.fetch_add(1, Ordering::SeqCst);
    if declared_length(&headers).is_some_and(|length| length > BODY_BYTES_MAX as u64) {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    }
    match read_body(
        body,
        BODY_BYTES_MAX,
        handlers.body_time_max,
        &BodyBudget::new(BODY_BYTES_MAX),
        || Some(()),
    )
    .await
    {
        Ok((bytes, _share)) => bytes.into_response(),
        Err(BodyError::TooLarge) => StatusCode::PAYLOAD_TOO_LARGE.into_response(),
        Err(BodyError::TooSlow) => StatusCode::REQUEST_TIMEOUT.into_response(),
        Err(BodyError::NoRoom | BodyError::TooManyUnfinished) => {
            StatusCode::SERVICE_UNAVAILABLE.into_response()
        }
        Err(BodyError::Broken) => StatusCode::BAD_REQUEST.into_response(),
    }
}

async fn hello(
    State(handlers): State<Arc<Handlers>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
) -> String {
    handlers.reached.fetch_add(1, Ordering::SeqCst);
    format!("hello {}", peer.ip())
}

async fn gated(State(handlers): State<Arc<Handlers>>) -> &'static str {
    handlers.reached.fetch_add(1, Ordering::SeqCst);
    handlers
        .gate
        .acquire()
        .await
        .expect("never closed")
        .forget();
    "at last"
}

/// More than all the buffers between the server and a client that does not read.
async fn big(State(handlers): State<Arc<Handlers>>) -> Vec<u8> {
    handlers.reached.fetch_add(1, Ordering::SeqCst);
    vec![b'x'; 64 * 1024 * 1024]
}
