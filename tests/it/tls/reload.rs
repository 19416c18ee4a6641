//! Certificates are replaced while connections continue: a bad pair never replaces a good one, and
//! no handshake fails.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use evolink_receiver::clock::Clock;
use evolink_receiver::http::tls::{Reloaded, TlsSource};
use tempfile::TempDir;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::support::net::certificates::{Files, Pem, connects, serve_tls};
use crate::support::net::echo::{EchoServer, HELLO};
use crate::support::net::raw::RawClient;
use crate::support::until::until;

#[tokio::test]
async fn a_bad_new_pair_never_replaces_a_good_one() {
    let (good, other) = (Pem::good(), Pem::good());
    let files = Files::with(&good);
    let source = Arc::new(files.source().expect("a good pair"));
    let server = serve_tls(&source).await;
    let expired = Pem::valid(2020, 2021);
    let bad = [
        (&good.cert[..good.cert.len() / 2], good.key.as_str()),
        (good.cert.as_str(), &good.key[..good.key.len() / 2]),
        ("", ""),
        (&other.cert, &good.key),
        (&good.cert, &other.key),
        (&expired.cert, &expired.key),
    ];
    for (cert, key) in bad {
        fs::write(&files.cert, cert).expect("written");
        fs::write(&files.key, key).expect("written");
        assert!(source.reload().is_err());
        assert!(connects(&server, &good).await);
    }
    fs::remove_file(&files.cert).expect("removed");
    assert!(source.reload().is_err());
    assert!(connects(&server, &good).await);

    fs::write(&files.cert, &good.cert).expect("written");
    fs::write(&files.key, &good.key).expect("written");
    assert_eq!(
        source.reload().expect("the pair in use"),
        Reloaded::Unchanged
    );
    fs::write(&files.cert, &other.cert).expect("written");
    fs::write(&files.key, &other.key).expect("written");
    assert_eq!(source.reload().expect("a good pair"), Reloaded::Replaced);
    assert!(connects(&server, &other).await && !connects(&server, &good).await);
}

#[test]
fn a_pair_that_is_not_valid_now_is_replaced_by_any_other() {
    let [expired, also_expired] = [Pem::valid(2020, 2021), Pem::valid(2020, 2022)];
    let files = Files::with(&expired);
    let source = files.source().expect("a pair");
    for next in [&also_expired, &Pem::good()] {
        fs::write(&files.cert, &next.cert).expect("written");
        fs::write(&files.key, &next.key).expect("written");
        assert_eq!(source.reload().expect("a pair"), Reloaded::Replaced);
        assert_eq!(source.certificate_pem(), next.cert);
    }
}

/// Connects continuously until `stop` is set. Every handshake must succeed with one of the good
/// certificates.
async fn traffic(
    server: Arc<EchoServer>,
    roots: String,
    stop: Arc<AtomicBool>,
    handshakes: Arc<AtomicUsize>,
) {
    // Bounded in case `stop` is never set.
    for _ in 0..100_000 {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let mut client = RawClient::connect_tls(server.address, &roots, "localhost").await;
        client.send(HELLO).await;
        assert_eq!(client.read_response().await.status, 200);
        handshakes.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_may_be_swapped_in_any_order_under_traffic() {
    let pairs: Vec<Pem> = (0..5).map(|_| Pem::good()).collect();
    let files = Files::with(&pairs[0]);
    let source = Arc::new(files.source().expect("a good pair"));
    let server = Arc::new(serve_tls(&source).await);
    let (reload, shutdown) = (Arc::new(Notify::new()), CancellationToken::new());
    let every = Duration::from_millis(20);
    let watching =
        tokio::spawn(Arc::clone(&source).watch(every, Arc::clone(&reload), shutdown.clone()));
    let (stop, handshakes) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let roots: String = pairs.iter().map(|pem| pem.cert.as_str()).collect();
    let clients: Vec<_> = (0..3)
        .map(|_| {
            tokio::spawn(traffic(
                Arc::clone(&server),
                roots.clone(),
                Arc::clone(&stop),
                Arc::clone(&handshakes),
            ))
        })
        .collect();

    let pause = || sleep(Duration::from_millis(100));
    for (number, pem) in pairs.iter().enumerate().skip(1) {
        let (first, second) = match number % 2 {
            0 => ((&files.cert, &pem.cert), (&files.key, &pem.key)),
            _ => ((&files.key, &pem.key), (&files.cert, &pem.cert)),
        };
        for (file, content) in [first, second] {
            // First like a copy in progress, then complete.
            fs::write(file, &content[..content.len() / 3]).expect("written");
            pause().await;
            fs::write(file, content).expect("written");
            pause().await;
        }
        wait_until_serving(&source, pem).await;
        assert!(connects(&server, pem).await);
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.expect("no handshake failed");
    }
    assert!(handshakes.load(Ordering::Relaxed) > 20, "there was traffic");
    shutdown.cancel();
    timeout(Duration::from_secs(30), watching)
        .await
        .expect("the watch ends")
        .expect("no panic");
}

/// The watch has to find the pair by itself.
async fn wait_until_serving(source: &TlsSource, pem: &Pem) {
    until("the new certificate", || {
        source.certificate_pem() == pem.cert
    })
    .await;
}

#[tokio::test]
async fn certificates_are_reloaded_at_once_on_request_and_through_a_swapped_link() {
    let (old, new) = (Pem::good(), Pem::good());
    let dir = TempDir::new().expect("a folder");
    for (name, pem) in [("v1", &old), ("v2", &new)] {
        fs::create_dir(dir.path().join(name)).expect("made");
        fs::write(dir.path().join(name).join("tls.crt"), &pem.cert).expect("written");
        fs::write(dir.path().join(name).join("tls.key"), &pem.key).expect("written");
    }
    // Kubernetes mounts a secret in this way: a link to a folder, which a rename replaces.
    let link = dir.path().join("data");
    std::os::unix::fs::symlink("v1", &link).expect("linked");
    let source = TlsSource::from_files(&link.join("tls.crt"), &link.join("tls.key"), Clock::System)
        .expect("a good pair");
    let source = Arc::new(source);
    let (reload, shutdown) = (Arc::new(Notify::new()), CancellationToken::new());
    let never = Duration::from_hours(1);
    let watching =
        tokio::spawn(Arc::clone(&source).watch(never, Arc::clone(&reload), shutdown.clone()));
    let next = dir.path().join("next");
    std::os::unix::fs::symlink("v2", &next).expect("linked");
    fs::rename(&next, &link).expect("renamed");
    reload.notify_one();
    wait_until_serving(&source, &new).await;
    shutdown.cancel();
    timeout(Duration::from_secs(30), watching)
        .await
        .expect("the watch ends")
        .expect("no panic");
}
