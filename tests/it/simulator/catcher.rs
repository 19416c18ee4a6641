//! A small HTTPS server that records callbacks and answers them as a test wants.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::pki_types::PrivateKeyDer;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

#[derive(Clone, Debug)]
pub struct Caught {
    pub at: Instant,
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

type Answer = dyn Fn(usize) -> Response<Full<Bytes>> + Send + Sync;

pub struct Catcher {
    pub addr: SocketAddr,
    pub ca_pem: Vec<u8>,
    caught: Arc<Mutex<Vec<Caught>>>,
    _server: JoinSet<()>,
}

impl Caught {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

impl Catcher {
    pub async fn start() -> Self {
        Self::answering(|_| status(200)).await
    }

    /// Starts a catcher. `answer` gets the number of callbacks that came before.
    pub async fn answering(
        answer: impl Fn(usize) -> Response<Full<Bytes>> + Send + Sync + 'static,
    ) -> Self {
        let certified = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let ca_pem = certified.cert.pem().into_bytes();
        let key = PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certified.cert.der().clone()], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let caught = Arc::new(Mutex::new(Vec::new()));
        let mut server = JoinSet::new();
        server.spawn(accept(
            listener,
            acceptor,
            Arc::clone(&caught),
            Arc::new(answer),
        ));
        Self {
            addr,
            ca_pem,
            caught,
            _server: server,
        }
    }

    pub fn url(&self) -> String {
        format!("https://{}/callbacks/token", self.addr)
    }

    pub fn caught(&self) -> Vec<Caught> {
        self.caught.lock().unwrap().clone()
    }
}

pub fn status(status: u16) -> Response<Full<Bytes>> {
    let body = Full::new(Bytes::from_static(b"{}"));
    Response::builder().status(status).body(body).unwrap()
}

async fn accept(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    caught: Arc<Mutex<Vec<Caught>>>,
    answer: Arc<Answer>,
) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, caught) = (acceptor.clone(), Arc::clone(&caught));
        connections.spawn(serve(stream, acceptor, caught, Arc::clone(&answer)));
    }
}

async fn serve(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    caught: Arc<Mutex<Vec<Caught>>>,
    answer: Arc<Answer>,
) {
    let Ok(stream) = acceptor.accept(stream).await else {
        return;
    };
    let service = service_fn(|request: Request<Incoming>| async {
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let mut caught = caught.lock().unwrap();
        caught.push(Caught {
            at: Instant::now(),
            path: head.uri.path().to_owned(),
            headers: head.headers,
            body,
        });
        Ok::<_, Infallible>(answer(caught.len() - 1))
    });
    hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await
        .ok();
}
