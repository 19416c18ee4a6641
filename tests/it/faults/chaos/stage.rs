//! The simulator with all its faults, and receivers behind a round robin.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use evolink_receiver::clock::Clock;
use evolink_receiver::http::tls::TlsSource;
use evolink_receiver::simulator::{Faults, Options, Simulator, magic_prompts};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use url::Url;

use crate::support::app::{TestApp, TestAppBuilder};
use crate::support::store::{TestStore, is_postgres};

/// The receiver's timeout for EvoLink. An answer comes within it, or too late.
const TIMEOUT: Duration = Duration::from_secs(2);

pub struct Stage {
    pub simulator: Simulator,
    pub apps: Vec<TestApp>,
    _round_robin: JoinSet<()>,
}

impl Stage {
    pub async fn start(seed: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (store, replicas) = if is_postgres() {
            (TestStore::new(), 3)
        } else {
            (TestStore::in_folder(folder.path()), 1)
        };
        let front = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base_url = format!("https://localhost:{}", front.local_addr().unwrap().port());
        let certificate =
            TlsSource::self_signed_in(folder.path(), &["localhost".to_owned()], Clock::System);
        let simulator = Simulator::start(Options {
            allow_private_callbacks: true,
            callback_ca_pem: Some(certificate.unwrap().certificate_pem().into_bytes()),
            callback_timeout: TIMEOUT,
            retry_delays: [100, 200, 400].map(Duration::from_millis).to_vec(),
            estimated_time_s: 0,
            log_max: 1_000_000,
            faults: all_faults(seed),
            ..Options::default()
        });
        let simulator = simulator.await.unwrap();
        let builder = TestAppBuilder::new(folder, store).with(|config| {
            config.evolink.base_url = Url::parse(&simulator.base_url()).unwrap();
            config.evolink.timeout = TIMEOUT;
            config.public.base_url = Url::parse(&base_url).unwrap();
            config.reconcile.first_poll_after = Duration::from_secs(2);
            config.reconcile.interval_min = Duration::from_secs(1);
        });
        let mut apps = Vec::new();
        for _ in 0..replicas {
            apps.push(builder.clone().start().await);
        }
        let mut round_robin = JoinSet::new();
        let behind = apps.iter().map(|app| app.public).collect();
        round_robin.spawn(take_turns(front, behind));
        Self {
            simulator,
            apps,
            _round_robin: round_robin,
        }
    }

    /// Asserts that each receiver accepts another callback.
    pub async fn assert_well(&self) {
        for (number, app) in self.apps.iter().enumerate() {
            let body = format!(
                r#"{{"id":"task-unified-1-well{number}","status":"completed","results":["https://files.evolink.ai/0"]}}"#
            );
            let token = app.standing_token("well");
            assert_eq!(app.callback_result(&token, body).await, "recorded");
        }
    }
}

/// All faults that the simulator knows, in the order of its table.
fn all_faults(seed: u64) -> Faults {
    let all = magic_prompts().iter().map(|(name, _)| match *name {
        // The first one would switch off all the others. Only sounds come in stages: the first
        // outcome of a picture is final.
        "well-behaved" | "music-stages" => (*name, 0.0),
        "duration" => ("duration=50ms..1500ms", 1.0),
        "refusals" => ("refusals=1", 0.5),
        "query-faults" => ("query-faults=2", 0.9),
        "stall" => ("stall=3s", 0.03),
        "query-stall" => ("query-stall=3s", 0.03),
        "late-callback" => ("late-callback=3s", 0.03),
        "lost-callback" => ("lost-callback", 0.1),
        name => (name, 0.03),
    });
    all.fold(Faults::seeded(seed), |faults, (name, probability)| {
        faults.with(name, probability).unwrap()
    })
}

/// Forwards each connection byte for byte to the next address of `behind`.
async fn take_turns(front: TcpListener, behind: Vec<SocketAddr>) {
    let turn = Arc::new(AtomicUsize::new(0));
    let mut connections = JoinSet::new();
    while let Ok((mut client, _)) = front.accept().await {
        let to = behind[turn.fetch_add(1, Ordering::Relaxed) % behind.len()];
        connections.spawn(async move {
            if let Ok(mut server) = TcpStream::connect(to).await {
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            }
        });
        while connections.try_join_next().is_some() {}
    }
}
