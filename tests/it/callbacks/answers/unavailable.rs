//! When the store cannot accept a callback, the answer makes EvoLink retry, and the retry is
//! recorded once.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use evolink_receiver::clock::Clock;
use evolink_receiver::domain::callback::{KeyRing, Subject};
use evolink_receiver::domain::ids::SubmissionId;
use evolink_receiver::domain::task::polling::Pace;
use evolink_receiver::evolink::EvolinkKey;
use evolink_receiver::http::public::unfinished::UnfinishedCallbacks;
use evolink_receiver::http::public::{self, PublicState};
use evolink_receiver::http::serve::body::BodyBudget;
use evolink_receiver::http::serve::handshake::{Failures, Tls};
use evolink_receiver::http::serve::limits::Limits;
use evolink_receiver::http::serve::listener::serve;
use evolink_receiver::http::tls::TlsSource;
use evolink_receiver::observe::callback_path::CallbackPath;
use evolink_receiver::observe::metrics::Metrics;
use evolink_receiver::store::Store;
use evolink_receiver::store::recorder::entry::Entry;
use evolink_receiver::store::recorder::{Recorder, RecorderWorker};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::support::app::START as NOW;
use crate::support::app::callback_body::completed;
use crate::support::app::desk::{Answer, Desk, Submit};
use crate::support::net::raw::{RawClient, RawResponse};
use crate::support::store::TestStore;
use crate::support::store::database::Refused;

async fn post(client: &mut RawClient, token: &str, body: &str) -> RawResponse {
    let head = format!(
        "POST /callbacks/{token} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    client.send(head + body).await;
    client.read_response().await
}

fn assert_come_again(response: &RawResponse) {
    assert_eq!(response.status, 503, "{response:?}");
    assert_eq!(response.header("retry-after"), Some("1"));
    assert_eq!(response.text(), "", "nothing of what went wrong");
}

async fn send(desk: &Desk, submit: &Submit) -> RawResponse {
    post(
        &mut desk.app.raw_public().await,
        &submit.token,
        &completed(&submit.task_id),
    )
    .await
}

#[tokio::test]
async fn past_our_deadline_it_is_503_and_the_same_callback_later_is_recorded_once() {
    let mut desk =
        Desk::open_with(|config| config.public.request_timeout = Duration::from_secs(1)).await;
    let submit = desk.bound().await;
    let intruder = desk.intruder().await;
    intruder.hold_writes().await;
    assert_come_again(&send(&desk, &submit).await);
    // Neither guesses nor requests that are refused without a query have to wait for the store.
    let (status, _) = desk
        .app
        .callback("nobody", completed(&submit.task_id))
        .await;
    assert_eq!(status, 404);
    assert_eq!(
        desk.state(&submit).await.0,
        "pending",
        "a 503 is no promise"
    );
    intruder.let_write().await;
    let again = desk
        .app
        .callback_result(&submit.token, completed(&submit.task_id))
        .await;
    assert!(
        ["recorded", "duplicate"].contains(&again.as_str()),
        "{again}"
    );
    assert_eq!(
        desk.events(&submit).await,
        ["task.submitted", "task.completed"]
    );
    desk.assert_well("the deadline").await;
}

#[tokio::test]
async fn while_the_store_takes_no_writes_it_is_503_and_nothing_of_it_is_kept() {
    let mut desk = Desk::open().await;
    let submit = desk.bound().await;
    let intruder = desk.intruder().await;
    intruder.refuse(Refused::Events, "ABORT").await;
    let before = desk.rows().await;
    for _ in 0..3 {
        assert_come_again(&send(&desk, &submit).await);
    }
    desk.check_rows("refused", before, &[Answer::Refused(503)])
        .await;
    intruder.stop_refusing().await;
    desk.check(
        "healed",
        &submit,
        completed(&submit.task_id),
        Answer::Recorded,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_callback_that_cannot_be_written_takes_none_of_its_batch_with_it() {
    let mut desk = Desk::open().await;
    let mut submits = Vec::new();
    for _ in 0..24 {
        submits.push(desk.bound().await);
    }
    let poisoned = submits[7].task_id.clone();
    let intruder = desk.intruder().await;
    let refused = Refused::ObservationsWith(&poisoned);
    intruder.refuse(refused, "ABORT").await;
    let mut clients = Vec::new();
    for _ in &submits {
        clients.push(desk.app.raw_public().await);
    }
    let sending = clients
        .iter_mut()
        .zip(&submits)
        .map(async |(client, submit)| {
            post(client, &submit.token, &completed(&submit.task_id)).await
        });
    let responses = futures_util::future::join_all(sending).await;
    for (submit, response) in submits.iter().zip(&responses) {
        if submit.task_id == poisoned {
            assert_come_again(response);
        } else {
            assert_eq!(response.status, 200, "{response:?}");
        }
    }
    intruder.stop_refusing().await;
    desk.check(
        "healed",
        &submits[7],
        completed(&poisoned),
        Answer::Recorded,
    )
    .await;
}

/// The public listener alone, in front of a recorder that never processes its queue.
struct Bench {
    recorder: Recorder,
    _worker: RecorderWorker,
    metrics: Metrics,
    key_ring: Arc<KeyRing>,
    tls: Arc<TlsSource>,
    address: SocketAddr,
    stop: CancellationToken,
    _home: TestStore,
}

impl Bench {
    async fn start(body_budget_bytes: usize) -> Self {
        let home = TestStore::new();
        let store = Arc::new(Store::open(home.url()).await.unwrap());
        let pace = Pace {
            first_poll_after: Duration::from_secs(15),
            interval_min: Duration::from_secs(3),
            give_up_after: Duration::from_hours(1),
        };
        let (metrics, clock) = (Metrics::new(), Clock::manual(NOW));
        let (recorder, worker) = Recorder::new(store, clock.clone(), pace, metrics.clone());
        let key_ring = Arc::new(KeyRing::parse(&KeyRing::generate().unwrap()).unwrap());
        let callback_path = CallbackPath::new(metrics.clone());
        let state = PublicState {
            recorder: recorder.clone(),
            key_ring: Arc::clone(&key_ring),
            evolink_key: EvolinkKey::new("a-key-of-some-length".into()),
            token_lifetime: Duration::from_hours(1),
            clock,
            metrics: metrics.clone(),
            callback_path: callback_path.clone(),
            body_bytes_max: 1024,
            body_timeout: Duration::from_secs(5),
            body_budget: BodyBudget::new(body_budget_bytes),
            unfinished: UnfinishedCallbacks::new(64),
            // No deadline may decide the result here.
            request_timeout: Duration::from_hours(1),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let tls =
            Arc::new(TlsSource::self_signed(&["localhost".to_owned()], Clock::System).unwrap());
        let stop = CancellationToken::new();
        let router = public::router("/callbacks/", state);
        let limits = Limits {
            request_timeout: None,
            ..Limits::public()
        };
        tokio::spawn(serve(
            listener,
            Some(Tls {
                source: Arc::clone(&tls),
                failures: Failures::Callbacks(callback_path),
            }),
            limits,
            router,
            stop.clone(),
            Duration::ZERO,
        ));
        Self {
            recorder,
            _worker: worker,
            metrics,
            key_ring,
            tls,
            address,
            stop,
            _home: home,
        }
    }

    /// Valid callbacks get 503 with `Retry-After`, and invalid ones their usual answers.
    async fn assert_overloaded(self) {
        let token = self
            .key_ring
            .mint(&Subject::Submission(SubmissionId::new(NOW)));
        for _ in 0..3 {
            let roots = self.tls.certificate_pem();
            let mut client = RawClient::connect_tls(self.address, &roots, "localhost").await;
            assert_come_again(
                &post(
                    &mut client,
                    &token,
                    &completed("task-unified-1757165031-uyujaw3d"),
                )
                .await,
            );
            let mut client = RawClient::connect_tls(self.address, &roots, "localhost").await;
            assert_eq!(post(&mut client, "nobody", "").await.status, 404);
        }
        let counted = self.metrics.render();
        assert!(
            counted.contains("callbacks_total{result=\"refused\"} 3"),
            "{counted}"
        );
        self.stop.cancel();
    }
}

#[tokio::test]
async fn with_more_waiting_than_may_it_is_503_at_once() {
    let bench = Bench::start(1024 * 1024).await;
    for _ in 0..4096 {
        let (recorder, submission_id) = (bench.recorder.clone(), SubmissionId::new(NOW));
        tokio::spawn(async move { recorder.record(Entry::GaveUp { submission_id }).await });
    }
    tokio::task::yield_now().await;
    bench.assert_overloaded().await;
}

#[tokio::test]
async fn without_room_for_its_body_it_is_503_at_once() {
    Bench::start(100).await.assert_overloaded().await;
}
