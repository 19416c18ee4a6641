//! Histories of apps that repeat submits without an idempotency key, on the real recorder and
//! store. Whatever is lost, and whenever the process is killed, no image that an app wants is paid
//! for twice in a window. Each run prints the seed that repeats it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use evolink_receiver::clock::Clock;
use evolink_receiver::domain::delivery::routes::Routes;
use evolink_receiver::domain::delivery::{Holder, LEASE};
use evolink_receiver::domain::ids::SubmissionId;
use evolink_receiver::domain::key_use::KeyLimits;
use evolink_receiver::domain::kind::Kind;
use evolink_receiver::domain::task::polling::Pace;
use evolink_receiver::domain::timestamp::Timestamp;
use evolink_receiver::observe::metrics::Metrics;
use evolink_receiver::store::Store;
use evolink_receiver::store::recorder::Recorder;
use evolink_receiver::store::recorder::entry::{Entry, Intent, Receipt, SubmitEnded};
use evolink_receiver::store::repeats::{RepeatGuard, WatchResult, Watched};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::support::app::START;
use crate::support::campaign::rounds;
use crate::support::store::{TestStore, is_postgres};

/// Time for SQLite's thread to end what a killed process left to it, which nothing shows.
const FOR_THE_THREAD: Duration = Duration::from_millis(5);

const WINDOW: Duration = Duration::from_mins(10);
const STEPS: u32 = 60;
const PACE: Pace = Pace {
    first_poll_after: Duration::from_secs(15),
    interval_min: Duration::from_secs(3),
    give_up_after: Duration::from_hours(1),
};

/// One image that an app wants.
struct Wish {
    fingerprint: [u8; 32],
    /// When EvoLink accepted and charged a submit for this image.
    charged: Vec<Timestamp>,
    /// The app has its answer and does not submit again.
    is_granted: bool,
    /// The submit whose answer the app is waiting for.
    waits_for: Option<SubmissionId>,
}

struct Process {
    recorder: Recorder,
    holder: Holder,
    running: JoinHandle<()>,
}

struct History {
    random: fastrand::Rng,
    clock: Clock,
    store: Arc<Store>,
    process: Process,
    wishes: Vec<Wish>,
    is_guarded: bool,
    paid_twice: u32,
    repeats: u32,
}

fn process_on(store: &Arc<Store>, clock: &Clock) -> Process {
    let (recorder, worker) = Recorder::new(Arc::clone(store), clock.clone(), PACE, Metrics::new());
    let holder = Holder::new(clock.now());
    let worker = worker.with_routes(Routes {
        standing: Vec::new(),
        holder: holder.clone(),
        lease: LEASE,
    });
    Process {
        recorder,
        holder,
        running: tokio::spawn(worker.run(CancellationToken::new())),
    }
}

impl History {
    async fn live(store: &Arc<Store>, seed: u64, is_guarded: bool) -> Self {
        let clock = Clock::manual(START);
        let mut history = Self {
            random: fastrand::Rng::with_seed(seed),
            process: process_on(store, &clock),
            store: Arc::clone(store),
            clock,
            wishes: Vec::new(),
            is_guarded,
            paid_twice: 0,
            repeats: 0,
        };
        for _ in 0..STEPS {
            history.step().await;
        }
        history.process.running.abort();
        history
    }

    async fn step(&mut self) {
        match self.random.u8(..100) {
            0..20 => {
                let mut fingerprint = [0; 32];
                self.random.fill(&mut fingerprint);
                self.wishes.push(Wish {
                    fingerprint,
                    charged: Vec::new(),
                    is_granted: false,
                    waits_for: None,
                });
                self.submit(self.wishes.len() - 1).await;
            }
            20..60 => {
                let open = self.pick(|wish| !wish.is_granted && wish.waits_for.is_none());
                if let Some(at) = open {
                    self.submit(at).await;
                }
            }
            60..88 => {
                if let Some(at) = self.pick(|wish| wish.waits_for.is_some()) {
                    self.answer(at);
                }
            }
            88..93 => self.kill().await,
            _ => {
                let seconds = [1, 20, 120, 660][self.random.usize(..4)];
                self.clock.advance(Duration::from_secs(seconds));
            }
        }
    }

    fn pick(&mut self, is_it: impl Fn(&Wish) -> bool) -> Option<usize> {
        let fitting = (0..self.wishes.len()).filter(|at| is_it(&self.wishes[*at]));
        let fitting: Vec<_> = fitting.collect();
        (!fitting.is_empty()).then(|| fitting[self.random.usize(..fitting.len())])
    }

    /// The app submits, perhaps for the second time. Sometimes the process is killed while it
    /// records the intent.
    async fn submit(&mut self, at: usize) {
        let id = SubmissionId::new(self.clock.now());
        let fingerprint = self.wishes[at].fingerprint;
        let watched = self.watched(&fingerprint).await;
        let guard = self.is_guarded.then_some(RepeatGuard {
            fingerprint,
            window: WINDOW,
            has_watched: true,
            watched,
        });
        let intent = Intent {
            submission_id: id,
            client: Some("app".to_owned()),
            kind: Kind::Image,
            model: "z-image-turbo".to_owned(),
            reference: None,
            request: Bytes::from_static(b"{}"),
            callback_url: None,
            idempotency: None,
            guard,
            limits: KeyLimits::default(),
        };
        let recorder = self.process.recorder.clone();
        recorder.apps().enter(id);
        let recording = recorder.record(Entry::Intent(intent));
        if self.random.u8(..10) == 0 {
            let moment = Duration::from_micros(self.random.u64(..3000));
            let _ = timeout(moment, recording).await;
            return self.kill().await;
        }
        match recording.await.unwrap() {
            Receipt::Fresh => self.send(at, id).await,
            Receipt::Repeat { first, .. } => {
                self.repeats += 1;
                recorder.apps().leave(id);
                // The app receives the answer of the first submit, and reads it or not.
                if self.random.bool() && !self.wishes[at].charged.is_empty() {
                    self.wishes[at].is_granted = true;
                    recorder.apps().answered(first);
                    recorder.record_in_background(Entry::AppAnswered {
                        submission_id: first,
                    });
                }
            }
            other => panic!("{other:?}"),
        }
    }

    /// The rows of killed processes, as a replica finds them by watching.
    async fn watched(&self, fingerprint: &[u8; 32]) -> Vec<Watched> {
        let oldest = SubmissionId::first_at(self.clock.now().before(WINDOW));
        let rows = self.store.waiting_submits("app", fingerprint, oldest);
        let rows = rows.await.unwrap().into_iter();
        let dead = rows.filter(|(_, holder, _)| *holder != self.process.holder);
        dead.map(|(submission_id, ..)| Watched {
            submission_id,
            found: WatchResult::ProcessEnded,
        })
        .collect()
    }

    /// EvoLink either accepts and charges, or refuses.
    async fn send(&mut self, at: usize, id: SubmissionId) {
        let wish = &mut self.wishes[at];
        if self.random.u8(..5) == 0 {
            let ended = SubmitEnded::Refused {
                answer: None,
                idempotency: None,
            };
            let refused = Entry::SubmitEnded {
                submission_id: id,
                ended,
            };
            self.process.recorder.record(refused).await.unwrap();
            self.process.recorder.apps().leave(id);
            return;
        }
        let now = self.clock.now();
        let last = wish.charged.last();
        if last.is_some_and(|last| now.since(*last) < WINDOW) {
            self.paid_twice += 1;
        }
        wish.charged.push(now);
        wish.waits_for = Some(id);
    }

    /// The app reads its answer, disconnects first, or reads that the outcome is unknown.
    fn answer(&mut self, at: usize) {
        let recorder = &self.process.recorder;
        let wish = &mut self.wishes[at];
        let Some(submission_id) = wish.waits_for.take() else {
            return;
        };
        if self.random.bool() {
            wish.is_granted = true;
            recorder.apps().answered(submission_id);
            recorder.record_in_background(Entry::AppAnswered { submission_id });
        } else {
            recorder.apps().left(submission_id);
            recorder.record_in_background(Entry::AppLost { submission_id });
        }
    }

    /// Kills the process, whatever it is doing, and starts another.
    async fn kill(&mut self) {
        self.process.running.abort();
        let _ = (&mut self.process.running).await;
        sleep(FOR_THE_THREAD).await;
        self.process = process_on(&self.store, &self.clock);
        for wish in &mut self.wishes {
            wish.waits_for = None;
        }
    }
}

#[tokio::test]
async fn no_image_is_paid_for_twice_however_often_an_app_repeats_the_submit() {
    let home = TestStore::new();
    let store = Arc::new(Store::open(home.url()).await.unwrap());
    let first = fastrand::u64(..u64::MAX / 2);
    println!("the first seed is {first}");
    let (mut repeats, mut unguarded) = (0, 0);
    for seed in (first..).take(rounds(if is_postgres() { 5 } else { 20 }, 2000) as usize) {
        let history = History::live(&store, seed, true).await;
        assert_eq!(history.paid_twice, 0, "seed {seed}");
        repeats += history.repeats;
        if seed - first < 5 {
            unguarded += History::live(&store, seed, false).await.paid_twice;
        }
    }
    assert!(
        repeats > 0 && unguarded > 0,
        "it means something: {repeats} {unguarded}"
    );
}
