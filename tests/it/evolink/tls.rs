//! Real TLS: a server with an invalid certificate never receives a request, and the reason says
//! what is wrong.

use std::sync::Arc;
use std::time::Duration;

use evolink_receiver::evolink::{EvolinkClient, SubmitReply, USER_AGENT};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use secrecy::SecretString;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use url::Url;

use super::{KEY, PATIENT, PENDING, http, submit};
use crate::support::net::raw_server::{End, RawServer};

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn root(&self) -> reqwest::Certificate {
        reqwest::Certificate::from_der(self.0.der()).unwrap()
    }

    fn acceptor(&self, params: &CertificateParams) -> TlsAcceptor {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        acceptor(certificate.der().clone(), &key)
    }
}

fn acceptor(certificate: CertificateDer<'static>, key: &KeyPair) -> TlsAcceptor {
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(
        rustls::crypto::aws_lc_rs::default_provider(),
    ))
    .with_safe_default_protocol_versions()
    .unwrap()
    .with_no_client_auth()
    .with_single_cert(vec![certificate], key)
    .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

fn client(url: &str, timeout: Duration, roots: &[reqwest::Certificate]) -> EvolinkClient {
    let url = Url::parse(url).unwrap();
    EvolinkClient::with_roots(url, SecretString::from(KEY), timeout, USER_AGENT, roots).unwrap()
}

/// The reply to a submit to a server behind `tls`, and the number of requests that this server saw.
async fn submit_over(tls: TlsAcceptor, roots: &[reqwest::Certificate]) -> (SubmitReply, usize) {
    let server = RawServer::start_with(http(200, &[], PENDING), End::Close, Some(tls)).await;
    let reply = submit(&client(&server.url, PATIENT, roots)).await;
    (reply, server.requests().len())
}

fn reason((reply, requests): (SubmitReply, usize)) -> String {
    assert_eq!(requests, 0, "{reply:?}");
    match reply {
        SubmitReply::Unreachable { reason } => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_certificate_in_order_is_accepted() {
    let authority = Authority::new("the authority");
    let tls = authority.acceptor(&CertificateParams::new(["127.0.0.1".to_owned()]).unwrap());
    let (reply, requests) = submit_over(tls, &[authority.root()]).await;
    assert!(matches!(reply, SubmitReply::Accepted(_)), "{reply:?}");
    assert_eq!(requests, 1);
}

#[tokio::test]
async fn a_certificate_that_is_not_in_order_means_unreachable_and_says_why() {
    let authority = Authority::new("the authority");
    let good = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    let other_name = CertificateParams::new(["other.example".to_owned()]).unwrap();
    let mut expired = good.clone();
    expired.not_before = date_time_ymd(2019, 1, 1);
    expired.not_after = date_time_ymd(2020, 1, 1);
    let mut future = good.clone();
    future.not_before = date_time_ymd(2990, 1, 1);
    future.not_after = date_time_ymd(2991, 1, 1);
    let key = KeyPair::generate().unwrap();
    let self_signed = acceptor(good.self_signed(&key).unwrap().der().clone(), &key);
    let cases = [
        (self_signed, "UnknownIssuer"),
        (
            Authority::new("another authority").acceptor(&good),
            "UnknownIssuer",
        ),
        (authority.acceptor(&other_name), "not valid for name"),
        (authority.acceptor(&expired), "expired"),
        (authority.acceptor(&future), "not valid yet"),
    ];
    for (tls, expected) in cases {
        let reason = reason(submit_over(tls, &[authority.root()]).await);
        assert!(reason.contains(expected), "want {expected}: {reason}");
    }
}

#[tokio::test]
async fn a_server_that_never_finishes_the_handshake_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let silent = submit(&client(&url, Duration::from_secs(6), &[])).await;
    let reason = reason((silent, 0));
    assert!(reason.contains("timed out"), "{reason}");
}

#[tokio::test]
async fn a_server_that_speaks_no_tls_is_unreachable() {
    let server = RawServer::start(http(400, &[], "{}"), End::Close).await;
    let url = server.url.replace("http:", "https:");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closing = format!("https://{}", listener.local_addr().unwrap());
    let mut closer = JoinSet::new();
    closer.spawn(async move { drop(listener.accept().await) });
    for url in [url, closing] {
        let reply = submit(&client(&url, Duration::from_secs(6), &[])).await;
        reason((reply, server.requests().len()));
    }
    closer.join_next().await.unwrap().unwrap();
}

#[tokio::test]
async fn a_reset_after_the_handshake_and_the_request_is_unknown() {
    let authority = Authority::new("the authority");
    let tls = authority.acceptor(&CertificateParams::new(["127.0.0.1".to_owned()]).unwrap());
    for end in [End::Reset, End::Close] {
        let server = RawServer::start_with(Vec::new(), end, Some(tls.clone())).await;
        let reply = submit(&client(&server.url, PATIENT, &[authority.root()])).await;
        assert!(matches!(reply, SubmitReply::Unknown { .. }), "{reply:?}");
        assert_eq!(server.requests().len(), 1);
    }
}
