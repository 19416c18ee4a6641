//! The real store and the real recorder on a clock that stands still. The test can record calls in
//! one batch, crash in the middle of it, or make the database fail after part of it was written.

use std::future::poll_fn;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use evolink_receiver::clock::Clock;
use evolink_receiver::domain::delivery::routes::{Route, Routes};
use evolink_receiver::domain::delivery::{EndpointKey, Holder, LEASE};
use evolink_receiver::domain::event::EventType;
use evolink_receiver::domain::task::confirmation::{Confirm, Confirmation, ListedHosts, Policy};
use evolink_receiver::domain::task::polling::Pace;
use evolink_receiver::observe::metrics::Metrics;
use evolink_receiver::store::recorder::Recorder;
use evolink_receiver::store::recorder::entry::{Entry, Receipt};
use evolink_receiver::store::repeats::Apps;
use evolink_receiver::store::{Store, StoreError, backup};
use futures_util::future::{join_all, maybe_done};
use tempfile::TempDir;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::support::app::START;
use crate::support::store::database::Database;
use crate::support::store::{TestStore, is_postgres};

pub const PACE: Pace = Pace {
    first_poll_after: Duration::from_secs(15),
    interval_min: Duration::from_secs(3),
    give_up_after: Duration::from_hours(1),
};

/// Places where the database can be made to refuse a row, in the order in which a batch is written.
/// The third column finds the task of the row.
pub const PLACES: [(&str, &str, &str); 9] = [
    ("quarantine", "INSERT", "-1"),
    ("task", "INSERT", "NEW.seq"),
    ("task", "UPDATE", "NEW.seq"),
    ("observation", "INSERT", "NEW.id / 1024"),
    ("event", "INSERT", "NEW.task_seq"),
    ("delivery", "INSERT", "NEW.task_seq"),
    ("idempotency", "INSERT", "-1"),
    ("unanswered_submit", "INSERT", "-1"),
    ("unanswered_submit", "UPDATE", "-1"),
];

/// Ways of SQLite to refuse: FAIL keeps what the statement has done, ROLLBACK ends the transaction
/// without the driver's knowledge.
const WAYS: [&str; 3] = ["ABORT", "FAIL", "ROLLBACK"];

/// How long a process waits for a lock before it crashes, and how long a crash may take.
const IN_LINE: Duration = Duration::from_millis(3);
const IN_LINE_MAX: Duration = Duration::from_mins(1);

pub type Told = Result<Receipt, StoreError>;

pub struct Machine {
    pub clock: Clock,
    /// The test's own connection.
    pub eye: Database,
    pub home: TestStore,
    /// How often a process was started.
    pub starts: u32,
    /// Names the running process.
    pub holder: String,
    confirm: Confirm,
    store: Option<Arc<Store>>,
    process: Option<Process>,
    _memory: Option<TempDir>,
}

/// The part of the machine that a crash destroys.
struct Process {
    recorder: Recorder,
    holder: Holder,
    worker: Pin<Box<dyn Future<Output = ()>>>,
}

impl Process {
    fn on(store: Arc<Store>, clock: &Clock, confirm: Confirm) -> Self {
        let hosts = ListedHosts::new(&["files.evolink.ai".to_owned()]);
        let policy = Policy {
            pace: PACE,
            confirmation: Confirmation { confirm, hosts },
        };
        let (recorder, worker) = Recorder::new(store, clock.clone(), policy, Metrics::new());
        let holder = Holder::new(clock.now());
        let worker = worker.with_routes(routes(holder.clone()));
        Self {
            recorder,
            holder,
            worker: Box::pin(worker.run(CancellationToken::new())),
        }
    }

    async fn end_in(self, entries: Vec<Entry>, wakes: u32, time_max: Duration) -> Vec<Told> {
        let (recorder, mut worker) = (self.recorder, self.worker);
        let calls = entries.into_iter().map(|entry| recorder.record(entry));
        let mut calls: Vec<_> = calls.map(|call| Box::pin(maybe_done(call))).collect();
        let mut left = wakes;
        let until_then = poll_fn(|context| {
            // The first poll queues the calls, before the recorder takes its batch.
            let calls = calls.iter_mut();
            let answered = calls.map(|call| call.as_mut().poll(context).is_ready());
            if answered.filter(|it| !it).count() == 0 || left == 0 {
                return Poll::Ready(());
            }
            left -= 1;
            assert!(worker.as_mut().poll(context).is_pending(), "it runs");
            Poll::Pending
        });
        // The process ends here, whether the time is over or not.
        let _ = timeout(time_max, until_then).await;
        drop(worker);
        let told = calls.into_iter().map(|mut call| async move {
            call.as_mut().await;
            call.as_mut().take_output().expect("awaited once")
        });
        join_all(told).await
    }
}

impl Machine {
    pub async fn new() -> Self {
        // Syncs are not the subject of this test, and take most of the time, so use memory.
        let memory = Path::new("/dev/shm");
        let memory =
            (!is_postgres() && memory.is_dir()).then(|| tempfile::tempdir_in(memory).unwrap());
        let home = match &memory {
            Some(folder) => TestStore::file_in(folder.path()),
            None => TestStore::new(),
        };
        let clock = Clock::manual(START);
        let store = Arc::new(Store::open(home.url()).await.unwrap());
        let eye = home.connect().await;
        make_faults(&eye).await;
        let process = Process::on(Arc::clone(&store), &clock, Confirm::Never);
        Self {
            holder: process.holder.as_str().to_owned(),
            process: Some(process),
            confirm: Confirm::Never,
            store: Some(store),
            starts: 1,
            clock,
            eye,
            home,
            _memory: memory,
        }
    }

    pub fn store(&self) -> &Arc<Store> {
        self.store.as_ref().expect("it is open")
    }

    pub fn now(&self) -> i64 {
        self.clock.now().as_millis()
    }

    /// The apps that wait at the running process.
    pub fn apps(&self) -> &Apps {
        self.process.as_ref().expect("it runs").recorder.apps()
    }

    /// Records all entries in one batch.
    pub async fn record(&mut self, entries: Vec<Entry>) -> Vec<Told> {
        let process = self.process.as_mut().expect("it runs");
        let calls = entries
            .into_iter()
            .map(|entry| process.recorder.record(entry));
        tokio::select! {
            biased;
            told = join_all(calls) => told,
            () = &mut process.worker => panic!("the recorder ended by itself"),
        }
    }

    /// Like `record`, but the process ends when its recorder was woken `wakes` times, or when all
    /// calls are answered.
    pub async fn crash_in(&mut self, entries: Vec<Entry>, wakes: u32) -> Vec<Told> {
        let process = self.process.take().expect("it runs");
        let told = process.end_in(entries, wakes, IN_LINE_MAX).await;
        self.settle().await;
        told
    }

    /// Like `crash_in`, while another connection holds the lock.
    pub async fn crash_in_line(&mut self, entries: Vec<Entry>) -> Vec<Told> {
        self.eye.hold_writes().await;
        let process = self.process.take().expect("it runs");
        let told = process.end_in(entries, u32::MAX, IN_LINE).await;
        self.eye.let_write().await;
        self.settle().await;
        told
    }

    /// Starts another process. Opening the store takes longer than a history, so most starts reuse
    /// the open one.
    pub async fn start(&mut self, opens: bool) {
        if opens {
            self.store = None;
            self.store = Some(Arc::new(Store::open(self.home.url()).await.unwrap()));
        }
        let process = Process::on(Arc::clone(self.store()), &self.clock, self.confirm);
        process.holder.as_str().clone_into(&mut self.holder);
        self.process = Some(process);
        self.starts += 1;
    }

    /// Sets the configuration of the process that runs from now on.
    pub async fn configure(&mut self, confirm: Confirm) {
        if self.confirm != confirm {
            self.confirm = confirm;
            self.crash().await;
            self.start(false).await;
        }
    }

    /// Crashes the process while no call is in progress.
    pub async fn crash(&mut self) {
        self.process = None;
        self.settle().await;
    }

    /// Removes the mark, as after an older copy was put back on purpose.
    pub fn remove_mark(&self) {
        let Some(path) = self.home.url().strip_prefix("sqlite:") else {
            return;
        };
        let mark = PathBuf::from(format!("{path}.mark"));
        if mark.exists() {
            std::fs::remove_file(mark).unwrap();
        }
    }

    /// Begins a new epoch, as after a restore. No process runs meanwhile.
    pub async fn begin_epoch(&mut self) {
        self.store = None;
        backup::begin_epoch(&self.home.url().into()).await.unwrap();
        self.store = Some(Arc::new(Store::open(self.home.url()).await.unwrap()));
    }

    /// Waits until the lost process has nothing in progress in the database.
    async fn settle(&self) {
        self.eye.hold_writes().await;
        self.eye.let_write().await;
    }

    /// Makes the database refuse rows at this place from now on: only those of task `seq`, if
    /// given.
    pub async fn break_at(&self, place: usize, way: usize, seq: Option<i64>) -> String {
        let (table, verb, _) = PLACES[place % PLACES.len()];
        let way = WAYS[way % WAYS.len()];
        let seq = seq.map_or("NULL".to_owned(), |seq| seq.to_string());
        let sql = format!(
            "INSERT INTO fault (place, way, task) VALUES ('{table} {verb}', '{way}', {seq})"
        );
        self.eye.execute(&sql).await;
        format!("{way} at {verb} of {table}, task {seq}")
    }

    pub async fn repair(&self) {
        self.eye.execute("DELETE FROM fault").await;
    }
}

/// The endpoint `all` gets every outcome, `bad` only the unsuccessful ones.
fn routes(holder: Holder) -> Routes {
    let route = |name, events: &[EventType]| Route {
        endpoint: EndpointKey::standing(name),
        events: events.to_vec(),
    };
    let bad = [EventType::Failed, EventType::Cancelled];
    let all = [
        EventType::Completed,
        EventType::Failed,
        EventType::Cancelled,
    ];
    Routes {
        standing: vec![route("all", &all), route("bad", &bad)],
        holder,
        lease: LEASE,
    }
}

/// Creates triggers that refuse the rows which the table `fault` names.
async fn make_faults(eye: &Database) {
    eye.execute("CREATE TABLE fault (place TEXT NOT NULL, way TEXT NOT NULL, task BIGINT)")
        .await;
    for (at, (table, verb, task)) in PLACES.into_iter().enumerate() {
        let is_wanted = format!(
            "EXISTS (SELECT 1 FROM fault WHERE place = '{table} {verb}' AND (task IS NULL OR task = {task})"
        );
        if eye.is_postgres() {
            eye.execute(&format!(
                "CREATE FUNCTION fault_{at}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                    IF {is_wanted}) THEN RAISE EXCEPTION 'a fault'; END IF; RETURN NEW; END $$;
                CREATE TRIGGER fault_{at} BEFORE {verb} ON {table} FOR EACH ROW EXECUTE FUNCTION fault_{at}()"
            ))
            .await;
            continue;
        }
        for way in WAYS {
            eye.execute(&format!(
                "CREATE TRIGGER fault_{at}_{way} BEFORE {verb} ON {table} WHEN {is_wanted} AND way = '{way}')
                    BEGIN SELECT RAISE({way}, 'a fault'); END"
            ))
            .await;
        }
    }
}
