//! The baselines that the receiver is compared with, each a process of its own. One accepts
//! callbacks as the receiver does, but stores nothing. The other adds a transaction for each
//! callback, which is the obvious first implementation.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Context as _;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use bytes::Bytes;
use evolink_receiver::clock::Clock;
use evolink_receiver::domain::observation::Observation;
use evolink_receiver::http::serve::limits::Limits;
use evolink_receiver::http::tls::TlsSource;
use http::{HeaderValue, StatusCode, header};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use crate::writes::Writes;

/// The path on which requests are answered without being examined.
pub const BARE_PATH: &str = "/bare";

const CALLBACKS: &str = "/callbacks/{token}";

/// Serves until it is killed. With `store`, the URL of a database, each callback is a transaction
/// in it.
pub async fn serve(listen: SocketAddr, folder: &Path, store: Option<&str>) -> anyhow::Result<()> {
    let callbacks: Router = match store {
        None => Router::new().route(CALLBACKS, post(store_nothing)),
        Some(url) => Router::new()
            .route(CALLBACKS, post(commit_each))
            .with_state(Arc::new(Writes::open(url).await?)),
    };
    let router = callbacks.route(BARE_PATH, post(async || StatusCode::NOT_FOUND));
    let acceptor = acceptor(folder)?;
    let listener = listen_on(listen)?;
    let connections = TaskTracker::new();
    loop {
        let (tcp, _) = listener.accept().await?;
        connections.spawn(serve_connection(tcp, acceptor.clone(), router.clone()));
    }
}

async fn store_nothing(body: Bytes) -> Response {
    match Observation::parse(body) {
        Ok(_) => recorded(),
        Err(_) => StatusCode::BAD_REQUEST.into_response(),
    }
}

async fn commit_each(State(writes): State<Arc<Writes>>, body: Bytes) -> Response {
    let Ok(seen) = Observation::parse(body) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    match writes.commit(&seen).await {
        Ok(()) => recorded(),
        Err(error) => {
            eprintln!("could not commit: {error}");
            StatusCode::SERVICE_UNAVAILABLE.into_response()
        }
    }
}

fn recorded() -> Response {
    Json(json!({"result": "recorded"})).into_response()
}

/// Uses a certificate of the same kind as the receiver's, and otherwise the defaults of rustls.
fn acceptor(folder: &Path) -> anyhow::Result<TlsAcceptor> {
    TlsSource::self_signed_in(folder, &["localhost".to_owned()], Clock::System)?;
    let (certificate, key) = TlsSource::self_signed_files(folder);
    let chain = CertificateDer::pem_file_iter(certificate)?.collect::<Result<_, _>>()?;
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::from_pem_file(key)?)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn listen_on(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(2048).context("cannot listen")
}

async fn serve_connection(tcp: TcpStream, acceptor: TlsAcceptor, router: Router) {
    let _ = tcp.set_nodelay(true);
    let Ok(stream) = acceptor.accept(tcp).await else {
        return;
    };
    // The same limit as the receiver's, so that both need equally many handshakes.
    let requests_max = Limits::public().requests_per_connection_max;
    let requests = AtomicUsize::new(0);
    let service = service_fn(async |request| {
        let mut response = router.clone().oneshot(request).await?;
        if requests.fetch_add(1, Ordering::Relaxed) + 1 >= requests_max {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
        }
        Ok::<_, std::convert::Infallible>(response)
    });
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}
