//! A notification that could not be sent is sent once there is a connection again, even if nothing
//! more is recorded.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use memchr::memmem;
use sqlx::postgres::PgListener;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use url::Url;

use crate::support::recorder::recording::Recording;
use crate::support::store::TestStore;
use crate::support::until::PATIENCE;

const CHANNEL: &str = "evolink_receiver";

/// Forwards connections to the database server. While `is_armed`, the next notification is not
/// forwarded: its connection is cut off instead.
async fn gateway(server: String, is_armed: Arc<AtomicBool>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (server, is_armed) = (server.clone(), Arc::clone(&is_armed));
            tokio::spawn(async move { forward(client, &server, &is_armed).await });
        }
    });
    address
}

async fn forward(client: TcpStream, server: &str, is_armed: &AtomicBool) -> io::Result<()> {
    let (mut from_server, mut to_server) = TcpStream::connect(server).await?.into_split();
    let (mut from_client, mut to_client) = client.into_split();
    let asking = async {
        let mut bytes = [0; 8192];
        loop {
            let length = from_client.read(&mut bytes).await?;
            let asked = &bytes[..length];
            let is_notification = memmem::find(asked, b"NOTIFY ").is_some();
            if asked.is_empty() || (is_notification && is_armed.swap(false, Ordering::Relaxed)) {
                return Ok(());
            }
            to_server.write_all(asked).await?;
        }
    };
    tokio::select! {
        asked = asking => asked,
        answered = copy(&mut from_server, &mut to_client) => answered.map(drop),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_notification_that_was_cut_off_is_sent_over_the_next_connection() {
    let Some(store) = TestStore::on_postgres() else {
        return;
    };
    let mut url = Url::parse(store.url()).unwrap();
    let server = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap());
    let is_armed = Arc::new(AtomicBool::new(false));
    let gateway = gateway(server, Arc::clone(&is_armed)).await;
    url.set_host(Some("127.0.0.1")).unwrap();
    url.set_port(Some(gateway.port())).unwrap();
    let here = Recording::start(url.as_str()).await;
    let mut there = PgListener::connect(store.url()).await.unwrap();
    there.listen(CHANNEL).await.unwrap();
    is_armed.store(true, Ordering::Relaxed);
    here.record("task-1").await;
    let notified = timeout(PATIENCE, there.recv()).await;
    assert!(notified.is_ok(), "the notification is lost");
    assert!(!is_armed.load(Ordering::Relaxed), "it was cut off");
    here.end().await;
}
