//! Handshakes: what a server offers, what it chooses and what it refuses.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use evolink_receiver::http::serve::limits::Limits;
use rustls::{CipherSuite, ProtocolVersion};
use tempfile::TempDir;
use tokio::time::timeout;

use super::client::handshake;
use crate::support::net::echo::{EchoServer, Transport};
use crate::support::net::tls::{client_config, client_config_for};

#[tokio::test]
async fn only_http_1_1_is_offered_over_tls_1_2_and_1_3() {
    let server = EchoServer::start(Transport::Tls, Limits::public()).await;
    let pem = server.tls.as_ref().expect("TLS").certificate_pem();
    for (version, expected) in [
        (&rustls::version::TLS12, ProtocolVersion::TLSv1_2),
        (&rustls::version::TLS13, ProtocolVersion::TLSv1_3),
    ] {
        let mut config = client_config_for(&pem, &[version]);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let (tls, _tcp) = handshake(&server, config).await.expect("a handshake");
        assert_eq!(tls.protocol_version(), Some(expected));
        assert_eq!(tls.alpn_protocol(), Some(b"http/1.1".as_slice()));
    }
    let mut config = client_config(&pem);
    config.alpn_protocols = vec![b"h2".to_vec()];
    assert!(
        handshake(&server, config).await.is_err(),
        "h2 alone is refused"
    );
}

#[tokio::test]
async fn a_suite_with_sha_256_is_chosen_though_the_client_would_rather_have_sha_384() {
    let server = EchoServer::start(Transport::Tls, Limits::public()).await;
    let pem = server.tls.as_ref().expect("TLS").certificate_pem();
    for (version, expected) in [
        (
            &rustls::version::TLS12,
            CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        ),
        (
            &rustls::version::TLS13,
            CipherSuite::TLS13_AES_128_GCM_SHA256,
        ),
    ] {
        let config = client_config_for(&pem, &[version]);
        let (tls, _tcp) = handshake(&server, config).await.expect("a handshake");
        let chosen = tls.negotiated_cipher_suite().map(|suite| suite.suite());
        assert_eq!(chosen, Some(expected));
    }
}

/// Uses OpenSSL's client, because rustls cannot even request these.
#[tokio::test]
async fn tls_1_1_and_early_data_are_refused() {
    let server = EchoServer::start(Transport::Tls, Limits::public()).await;
    let dir = TempDir::new().expect("a folder");
    let (session, request) = (dir.path().join("session"), dir.path().join("request"));
    fs::write(
        &request,
        "GET /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    )
    .expect("written");
    let text = |path: &Path| path.to_str().expect("a path in UTF-8").to_owned();

    let weak = ["-cipher", "DEFAULT@SECLEVEL=0"];
    let output = s_client(&server, &request, &[&["-tls1_2"], &weak[..]].concat()).await;
    assert!(
        output.contains("hello 127.0.0.1"),
        "the same with TLS 1.2 works: {output}"
    );
    let output = s_client(&server, &request, &[&["-tls1_1"], &weak[..]].concat()).await;
    assert!(
        output.contains("SSL alert number") && output.contains("Cipher is (NONE)"),
        "{output}"
    );

    let output = s_client(
        &server,
        &request,
        &["-tls1_3", "-sess_out", &text(&session)],
    )
    .await;
    assert!(
        output.contains("hello 127.0.0.1") && output.contains("Max Early Data: 0"),
        "{output}"
    );
    let early = [
        "-tls1_3",
        "-sess_in",
        &text(&session),
        "-early_data",
        &text(&request),
    ];
    let output = s_client(&server, &request, &early).await;
    assert!(
        output.contains("Reused, TLSv1.3") && !output.contains("Early data was accepted"),
        "{output}"
    );
    assert_eq!(server.reached(), 3);
}

async fn s_client(server: &EchoServer, request: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new("openssl");
    command.args([
        "s_client",
        "-ign_eof",
        "-servername",
        "localhost",
        "-connect",
        &server.address.to_string(),
    ]);
    command
        .args(arguments)
        .stdin(File::open(request).expect("a request"));
    // It ends by itself when the server closes the connection after the answer.
    let run = tokio::task::spawn_blocking(move || command.output());
    let output = timeout(Duration::from_mins(1), run)
        .await
        .expect("openssl ends")
        .expect("no panic")
        .expect("it runs");
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}
