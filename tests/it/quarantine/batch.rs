//! Replays in one batch with each other, and with callbacks about the same tasks.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use evolink_receiver::clock::Clock;
use evolink_receiver::domain::callback::Subject;
use evolink_receiver::domain::observation::{Observation, Source};
use evolink_receiver::domain::task::Verdict;
use evolink_receiver::domain::task::polling::Pace;
use evolink_receiver::observe::metrics::Metrics;
use evolink_receiver::store::Store;
use evolink_receiver::store::quarantine::Bounds;
use evolink_receiver::store::recorder::Recorder;
use evolink_receiver::store::recorder::entry::{Entry, Receipt};
use futures_util::future::join_all;
use http::HeaderMap;
use tokio_util::sync::CancellationToken;

use crate::support::app::callback_body::{body, completed};
use crate::support::app::quarantine::{put, totals};
use crate::support::store::TestStore;

const ID: &str = "task-unified-1757165031-batch000";

fn seen(text: &str) -> Observation {
    Observation::parse(Bytes::copy_from_slice(text.as_bytes())).unwrap()
}

fn subject() -> Subject {
    Subject::Standing("shop".parse().unwrap())
}

fn replay(id: i64, text: &str) -> Entry {
    Entry::FromQuarantine {
        id,
        subject: subject(),
        observation: seen(text),
    }
}

fn callback(text: &str) -> Entry {
    Entry::Observed {
        subject: subject(),
        observation: seen(text),
        source: Source::Callback,
        headers: HeaderMap::new(),
    }
}

/// The receipts of `entries` in one batch: all are queued before the recorder runs.
async fn in_one_batch(store: &Arc<Store>, bounds: Bounds, entries: Vec<Entry>) -> Vec<Receipt> {
    let pace = Pace {
        first_poll_after: Duration::from_secs(15),
        interval_min: Duration::from_secs(3),
        give_up_after: Duration::from_hours(1),
    };
    let (recorder, worker) = Recorder::new(Arc::clone(store), Clock::System, pace, Metrics::new());
    let stop = CancellationToken::new();
    let receipts = join_all(entries.into_iter().map(|entry| recorder.record(entry)));
    let running = worker.with_bounds(bounds).run(stop.clone());
    let told = async {
        let told = receipts.await;
        stop.cancel();
        told
    };
    let (told, ()) = tokio::join!(told, running);
    told.into_iter().map(Result::unwrap).collect()
}

const fn as_seen(verdict: Verdict) -> Receipt {
    Receipt::Seen {
        verdict,
        restored: false,
    }
}

#[tokio::test]
async fn a_batch_of_replays_and_callbacks_is_as_if_each_had_come_by_itself() {
    let home = TestStore::new();
    let store = Arc::new(Store::open(home.url()).await.unwrap());
    let database = home.connect().await;
    let (good, bad) = (completed(ID), body(ID, "failed", &serde_json::json!({})));
    let first = put(&database, "~shop", &good).await;
    let second = put(&database, "~shop", &bad).await;
    let entries = vec![
        replay(second + 1, &good),
        replay(first, &good),
        replay(first, &good),
        callback(&good),
        replay(second, &bad),
        callback(&bad),
        replay(second, &bad),
    ];
    let told = in_one_batch(&store, Bounds::DEFAULT, entries).await;
    let wanted = [
        Receipt::Gone,
        as_seen(Verdict::Recorded),
        as_seen(Verdict::Duplicate),
        as_seen(Verdict::Duplicate),
        as_seen(Verdict::Conflict),
        as_seen(Verdict::Conflict),
        as_seen(Verdict::Conflict),
    ];
    assert_eq!(told, wanted);
    let events: Vec<String> = database
        .values("SELECT type FROM event ORDER BY seq", &[])
        .await;
    assert_eq!(events, ["task.completed", "task.conflict"]);
    let marks = "SELECT replay_result FROM quarantine ORDER BY id";
    let marks: Vec<Option<String>> = database.values(marks, &[]).await;
    let marks: Vec<_> = marks.iter().map(Option::as_deref).collect();
    assert_eq!(marks, [Some("recorded"), Some("conflict")]);
    store.close().await;
}

#[tokio::test]
async fn an_entry_that_makes_room_in_the_batch_that_replays_it_is_recorded_all_the_same() {
    let home = TestStore::new();
    let store = Arc::new(Store::open(home.url()).await.unwrap());
    let database = home.connect().await;
    let good = completed(ID);
    let first = put(&database, "~shop", &good).await;
    let unreadable = Entry::Unreadable {
        subject: subject(),
        source: Source::Callback,
        body: Bytes::from_static(b"bad"),
        reason: "bad\0".to_owned(),
        headers: HeaderMap::new(),
    };
    let bounds = Bounds {
        entries: 1,
        ..Bounds::DEFAULT
    };
    let told = in_one_batch(&store, bounds, vec![replay(first, &good), unreadable]).await;
    assert_eq!(told, [as_seen(Verdict::Recorded), Receipt::Done]);
    let [counted, there] = totals(&database).await;
    assert_eq!((counted, there.0), (there, 1));
    let left: String = database.value("SELECT reason FROM quarantine", &[]).await;
    assert_eq!(left, "bad\u{fffd}");
    store.close().await;
}
