//! Readers that lose their connection at any moment, from receivers that are killed, stopped and
//! restarted. In the end each of them has read the whole log, without a gap and without a repeat.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use http::StatusCode;
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::support::campaign::{random, rounds};
use crate::support::described;
use crate::support::events::reader::{Came, SseReader};
use crate::support::events::seen::{Seen, logged, seq};
use crate::support::process::replica_load::Load;
use crate::support::process::{Place, Receiver};
use crate::support::store::database::Database;
use crate::support::until::PATIENCE;

const READERS: usize = 12;

/// Every fourth reader wants only these.
const TYPES: &str = "task.completed";

/// Maximum time between two ends of a receiver, and between two ends of a reader's connection.
const RECEIVER_LIVES: Duration = Duration::from_millis(2500);
const READER_LIVES: Duration = Duration::from_millis(900);

/// Pause before the next attempt if no receiver answers.
const BEFORE_NEXT_TRY: Duration = Duration::from_millis(20);

#[derive(Default)]
struct Counts {
    streams: AtomicU64,
    pages: AtomicU64,
    refused: AtomicU64,
    broken: AtomicU64,
}

/// One app. It remembers the number of the last event that it has read, and continues from there at
/// any receiver.
struct Reader {
    targets: Vec<SocketAddr>,
    http: described::Client,
    is_filtered: bool,
    last: i64,
    /// The number and a digest of each event.
    seen: Vec<(i64, u64)>,
    random: fastrand::Rng,
    counts: Arc<Counts>,
}

fn digest(seen: &Seen) -> u64 {
    let mut hasher = DefaultHasher::new();
    (seen.id, &seen.kind, &seen.task_id).hash(&mut hasher);
    hasher.finish()
}

impl Reader {
    fn take(&mut self, event: &Seen) {
        let is_next = if self.is_filtered {
            event.id.seq > self.last && event.kind == TYPES
        } else {
            event.id.seq == self.last + 1
        };
        assert!(is_next, "after event {}: {event:?}", self.last);
        self.last = event.id.seq;
        self.seen.push((event.id.seq, digest(event)));
    }

    fn filter(&self) -> String {
        let filter = if self.is_filtered { TYPES } else { "" };
        let name = if self.is_filtered { "types=" } else { "" };
        format!("{name}{filter}")
    }

    /// Reads until `stop`, and then up to event `newest`.
    async fn read(mut self, stop: Arc<AtomicBool>, newest: Arc<AtomicU64>) -> Self {
        loop {
            let end = i64::try_from(newest.load(Ordering::Relaxed)).unwrap();
            if stop.load(Ordering::Relaxed) && self.last >= end && end > 0 {
                return self;
            }
            let target = self.targets[self.random.usize(..self.targets.len())];
            let is_over = if self.random.u8(..4) == 0 {
                self.page(target).await
            } else {
                self.stream(target, end).await
            };
            if is_over.is_none() {
                self.counts.refused.fetch_add(1, Ordering::Relaxed);
                sleep(BEFORE_NEXT_TRY).await;
            }
        }
    }

    /// Returns `None` if no receiver answered.
    async fn page(&mut self, target: SocketAddr) -> Option<()> {
        let (last, filter) = (self.last, self.filter());
        let url = format!("http://{target}/v1/events?after={last}&limit=150&{filter}");
        let answer = self.http.get(url).timeout(PATIENCE).send().await.ok()?;
        let status = answer.status();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            return None;
        }
        let page: Value = answer.json().await.ok()?;
        assert_eq!(status, 200, "after {last}: {page}");
        for event in Seen::all(&page["data"]) {
            self.take(&event);
        }
        // Events that the filter left out count as read too.
        self.last = seq(&page["next"]).max(self.last);
        self.counts.pages.fetch_add(1, Ordering::Relaxed);
        Some(())
    }

    /// Reads a stream for a while.
    async fn stream(&mut self, target: SocketAddr, end: i64) -> Option<()> {
        let (query, last) = if self.random.bool() {
            (self.filter(), Some(self.last))
        } else {
            (format!("after={}&{}", self.last, self.filter()), None)
        };
        let opened = SseReader::try_open(target, query.trim_matches('&'), last).await;
        let mut stream = match opened {
            Ok(stream) => stream,
            Err(status) => {
                let is_passing = matches!(status, None | Some(503));
                assert!(is_passing, "after {}: {status:?}", self.last);
                return None;
            }
        };
        self.counts.streams.fetch_add(1, Ordering::Relaxed);
        let lives = READER_LIVES.mul_f64(self.random.f64());
        let until = Instant::now() + lives;
        while let Ok(came) = timeout(
            until.saturating_duration_since(Instant::now()),
            stream.next(),
        )
        .await
        {
            match came {
                Came::Event(event) => self.take(&event),
                // It would resume from that position.
                Came::Comment(place) => {
                    assert!(place >= self.last, "back from {} to {place}", self.last);
                    assert!(place == self.last || self.is_filtered);
                    self.last = place;
                }
                Came::End { is_whole } => {
                    self.counts
                        .broken
                        .fetch_add(u64::from(!is_whole), Ordering::Relaxed);
                    break;
                }
            }
            if Instant::now() >= until || (end > 0 && self.last >= end) {
                break;
            }
        }
        Some(())
    }
}

/// The events of the log that a reader should have seen.
fn expected(log: &[Seen], is_filtered: bool) -> Vec<(i64, u64)> {
    let wanted = log.iter();
    let wanted = wanted.filter(|seen| !is_filtered || seen.kind == TYPES);
    wanted.map(|seen| (seen.id.seq, digest(seen))).collect()
}

async fn newest(database: &Database) -> u64 {
    let newest: i64 = database.value("SELECT max(seq) FROM event", &[]).await;
    u64::try_from(newest).unwrap()
}

/// Ends and restarts receivers during `lasts`. Returns how often it did so.
async fn disturb(places: &[Place], receivers: &mut [Receiver], lasts: Duration) -> [u32; 2] {
    let (mut random, began, mut ended) = (random(), Instant::now(), [0, 0]);
    while began.elapsed() < lasts {
        sleep(RECEIVER_LIVES.mul_f64(random.f64())).await;
        let at = random.usize(..receivers.len());
        let is_kill = random.bool();
        if is_kill {
            receivers[at].kill();
        } else {
            receivers[at].terminate();
            let status = receivers[at].ended().await;
            assert_eq!(status.code(), Some(0), "{}", receivers[at].log_tail());
        }
        ended[usize::from(is_kill)] += 1;
        receivers[at] = places[at].start().await;
    }
    ended
}

/// The whole test, with one receiver or with replicas.
pub async fn readers_read_the_log(places: &[Place], mut receivers: Vec<Receiver>) {
    let lasts = Duration::from_secs(rounds(8, 200).into());
    let counts = Arc::new(Counts::default());
    let (stop, end) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let mut readers = JoinSet::new();
    for number in 0..READERS {
        let reader = Reader {
            targets: receivers.iter().map(Receiver::internal).collect(),
            http: described::client(reqwest::Client::builder().no_proxy().build().unwrap()),
            is_filtered: number % 4 == 3,
            last: 0,
            seen: Vec::new(),
            random: fastrand::Rng::new(),
            counts: Arc::clone(&counts),
        };
        readers.spawn(reader.read(Arc::clone(&stop), Arc::clone(&end)));
    }
    let load = Load::start(&receivers);
    let [stopped, killed] = disturb(places, &mut receivers, lasts).await;
    let report = load.stop().await;
    let database = places[0].store().connect().await;
    // A filtered reader knows from a page that it has read to the end.
    end.store(newest(&database).await, Ordering::Relaxed);
    stop.store(true, Ordering::Relaxed);
    let readers = timeout(PATIENCE, readers.join_all())
        .await
        .expect("they catch up");
    let log = logged(&database).await;
    let numbers: Vec<i64> = log.iter().map(|seen| seen.id.seq).collect();
    let whole: Vec<i64> = (1..).take(log.len()).collect();
    assert_eq!(numbers, whole, "the log itself has gaps");
    for reader in &readers {
        let expected = expected(&log, reader.is_filtered);
        let is_equal = reader.seen == expected;
        assert!(
            is_equal,
            "{} read, {} are there",
            reader.seen.len(),
            expected.len()
        );
    }
    let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
    println!(
        "{} events read by each of {READERS} readers: {} streams ({} broken off), {} pages, {} times nobody answered; \
        receivers stopped {stopped} times, killed {killed} times; {report}",
        log.len(),
        of(&counts.streams),
        of(&counts.broken),
        of(&counts.pages),
        of(&counts.refused),
    );
    database.close().await;
}
