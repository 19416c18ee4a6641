//! TLS on the internal listener: what clients see that check certificates as EvoLink's own do.

use std::net::SocketAddr;

use evolink_receiver::config::TlsMode;
use reqwest::{Certificate, Client};
use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::net::certificates::{Files, Pem};
use crate::support::until::PATIENCE;

async fn app_with(files: &Files) -> TestApp {
    let builder = TestApp::builder().with(|config| {
        config.internal.tls.mode = TlsMode::Files;
        config.internal.tls.cert_file = Some(files.cert.clone());
        config.internal.tls.key_file = Some(files.key.clone());
    });
    builder.start().await
}

/// A client that speaks https only, and trusts `root` alone. Every name is the listener's address.
fn client(root: &Pem, names: &[&str], address: SocketAddr) -> Client {
    let root = Certificate::from_pem(root.cert.as_bytes()).unwrap();
    let mut client = Client::builder()
        .no_proxy()
        .https_only(true)
        .timeout(PATIENCE)
        .tls_certs_only([root]);
    for name in names {
        client = client.resolve(name, address);
    }
    client.build().unwrap()
}

fn url(name: &str, app: &TestApp, path: &str) -> String {
    format!("https://{name}:{}{path}", app.internal.port())
}

#[tokio::test]
async fn a_client_that_demands_https_submits_and_queries() {
    let pem = Pem::good();
    let files = Files::with(&pem);
    let app = app_with(&files).await;
    let client = client(&pem, &["localhost"], app.internal);
    let get = async |path: &str| {
        let answer = client.get(url("localhost", &app, path)).send().await;
        let answer = answer.unwrap();
        (
            answer.status().as_u16(),
            answer.json::<Value>().await.unwrap(),
        )
    };
    assert_eq!(get("/livez").await.0, 200);
    let (status, verbose) = get("/readyz?verbose").await;
    assert_eq!(status, 200);
    let detail = &verbose["details"]["internal_certificate"];
    assert_eq!(detail["state"], "ok", "{detail}");

    // EvoLink is not reached from here, so the answer is about that.
    let body = json!({"model": "z-image-turbo", "prompt": "a cat"});
    let submit = client.post(url("localhost", &app, "/v1/images/generations"));
    let answer = submit.json(&body).send().await.unwrap();
    assert!(answer.headers().contains_key("x-submission-id"));
    assert_eq!(answer.status().as_u16(), 503);

    // A browser's page of our own origin, and one of another.
    for (origin, status) in [
        (format!("https://localhost:{}", app.internal.port()), 503),
        ("https://evil.example".to_owned(), 403),
    ] {
        let submit = client.post(url("localhost", &app, "/v1/images/generations"));
        let submit = submit.header("origin", origin.clone()).json(&body);
        assert_eq!(
            submit.send().await.unwrap().status().as_u16(),
            status,
            "{origin}"
        );
    }
    // Without keys, another name than this machine's is refused over TLS, too.
    let rebound = client.get(url("localhost", &app, "/v1/tasks"));
    let rebound = rebound.header("host", "evil.example").send().await.unwrap();
    assert_eq!(rebound.status().as_u16(), 403);
}

#[tokio::test]
async fn a_client_refuses_a_wrong_name_an_unknown_issuer_and_plain_http() {
    let pem = Pem::good();
    let files = Files::with(&pem);
    let app = app_with(&files).await;
    let names = ["localhost", "receiver.example"];
    let good = client(&pem, &names, app.internal);
    let failed = good.get(url("receiver.example", &app, "/livez")).send();
    assert!(failed.await.unwrap_err().is_connect(), "a wrong name");
    let stranger = client(&Pem::good(), &names, app.internal);
    let failed = stranger.get(url("localhost", &app, "/livez")).send();
    assert!(failed.await.unwrap_err().is_connect(), "an unknown issuer");
    let plain = Client::builder().no_proxy().build().unwrap();
    let answer = plain.get(format!("http://{}/livez", app.internal)).send();
    assert!(answer.await.is_err(), "plain http");

    let metrics = good.get(url("localhost", &app, "/metrics")).send().await;
    let metrics = metrics.unwrap().text().await.unwrap();
    let failures = |name: &str| -> u64 {
        let lines = metrics.lines().filter(|line| line.starts_with(name));
        let values = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
        values.sum()
    };
    let of_apps = "evolink_receiver_internal_tls_handshakes_failed_total{";
    assert_eq!(failures(of_apps), 3, "{metrics}");
    // These are not about EvoLink.
    assert_eq!(failures("evolink_receiver_tls_handshakes_failed_total{"), 0);
}

#[tokio::test]
async fn an_expired_certificate_is_named_and_does_not_stop_callbacks() {
    let pem = Pem::valid(2020, 2021);
    let files = Files::with(&pem);
    let app = app_with(&files).await;
    let refuses = client(&pem, &["localhost"], app.internal);
    let failed = refuses.get(url("localhost", &app, "/readyz")).send().await;
    assert!(failed.unwrap_err().is_connect());

    let trusting = Client::builder()
        .no_proxy()
        .tls_danger_accept_invalid_certs(true);
    let trusting = trusting.build().unwrap();
    let answer = trusting.get(url("localhost", &app, "/readyz?verbose"));
    let answer = answer.send().await.unwrap();
    // Callbacks arrive on the other listener.
    assert_eq!(answer.status().as_u16(), 200);
    let body: Value = answer.json().await.unwrap();
    let says = "the certificate expired at 2021-01-01T00:00:00Z: apps that check it cannot connect";
    let detail = json!({"state": "failing", "message": says});
    assert_eq!(body["details"]["internal_certificate"], detail);
}
