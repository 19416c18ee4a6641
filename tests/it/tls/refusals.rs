//! Each failed handshake is counted by its reason, so that an operator sees what EvoLink's client
//! does not like about the certificate.

use std::time::Duration;

use evolink_receiver::http::serve::limits::Limits;
use evolink_receiver::observe::metrics::HandshakeFailure;
use strum::VariantArray as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::client::handshake;
use crate::support::net::echo::{EchoServer, Transport};
use crate::support::net::raw::RawClient;
use crate::support::net::tls::client_config;
use crate::support::until::until;

/// The reasons that were counted, each with its number.
fn failures(server: &EchoServer) -> Vec<String> {
    let shown = server.metrics.render();
    let name = "evolink_receiver_tls_handshakes_failed_total{reason=\"";
    let lines = shown.lines().filter_map(|line| line.strip_prefix(name));
    let counted = lines.filter(|line| !line.ends_with("} 0"));
    counted.map(|line| line.replace("\"}", "")).collect()
}

async fn fail(reason: HandshakeFailure, server: &EchoServer, pem: &str) {
    let tcp = || TcpStream::connect(server.address);
    match reason {
        HandshakeFailure::UnknownCa => {
            assert!(handshake(server, client_config("")).await.is_err());
        }
        HandshakeFailure::WrongName => {
            let config = client_config(pem);
            let name = "elsewhere.example";
            let shaken = RawClient::try_connect_tls(server.address, config, name).await;
            assert!(shaken.is_err());
        }
        HandshakeFailure::Protocol => {
            let mut config = client_config(pem);
            config.alpn_protocols = vec![b"h2".to_vec()];
            assert!(handshake(server, config).await.is_err());
        }
        HandshakeFailure::NotTls => {
            let mut plain = tcp().await.unwrap();
            plain.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        }
        HandshakeFailure::Closed => drop(tcp().await.unwrap()),
        HandshakeFailure::Timeout => {
            let mut silent = RawClient::over(tcp().await.unwrap());
            silent.time_until_closed().await;
        }
        // No certificate of this server is expired, and no client here is as silent about its
        // reason.
        HandshakeFailure::Expired | HandshakeFailure::CertificateRefused => {}
    }
}

#[tokio::test]
async fn each_failed_handshake_is_counted_by_its_reason_and_by_no_other() {
    for reason in HandshakeFailure::VARIANTS.iter().copied() {
        if matches!(
            reason,
            HandshakeFailure::Expired | HandshakeFailure::CertificateRefused
        ) {
            continue;
        }
        let mut limits = Limits::public();
        if reason == HandshakeFailure::Timeout {
            limits.handshake_timeout = Duration::from_millis(200);
        }
        let server = EchoServer::start(Transport::Tls, limits).await;
        assert_eq!(failures(&server), [""; 0]);
        let pem = server.tls.as_ref().expect("TLS").certificate_pem();
        fail(reason, &server, &pem).await;
        let expected = [format!("{} 1", reason.into_str())];
        let what = format!("a handshake that failed: {expected:?}");
        until(&what, || failures(&server) == expected).await;
    }
}
