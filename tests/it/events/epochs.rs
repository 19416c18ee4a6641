//! Event ids are unique for ever. Readers and endpoints that follow the documents lose nothing in
//! these cases: the store is restored from a backup, it is replaced by another one, or two
//! receivers deliver to one endpoint.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use evolink_receiver::domain::event::id::EventId;
use http::Method;

use super::{post, seqs};
use crate::support::app::answer::{Answer, get, send};
use crate::support::app::{TestApp, TestAppBuilder};
use crate::support::deliveries::app::{delivering, outcome};
use crate::support::deliveries::endpoint::{Endpoint, Received};
use crate::support::events::reader::SseReader;
use crate::support::store::TestStore;

/// Reads the feed as the documents say: saves `next`, drops events whose id it has seen, and
/// continues from `resume_after` after a 410.
#[derive(Default)]
struct Consumer {
    next: Option<String>,
    ids: BTreeSet<String>,
    tasks: BTreeSet<String>,
}

impl Consumer {
    async fn read(&mut self, app: &TestApp) {
        for _ in 0..100 {
            let after = self.next.as_deref().map(|next| format!("&after={next}"));
            let path = format!("/v1/events?limit=2{}", after.unwrap_or_default());
            let page = get(app, &path).await;
            if page.status == 410 {
                let resume = &page.body["error"]["resume_after"];
                self.next = Some(resume.as_str().unwrap().to_owned());
                continue;
            }
            assert_eq!(page.status, 200, "{page:?}");
            for event in page.body["data"].as_array().unwrap() {
                self.take(
                    event["id"].as_str().unwrap(),
                    event["task_id"].as_str().unwrap(),
                );
            }
            let next = page.body["next"].as_str().unwrap().to_owned();
            if self.next.replace(next.clone()).as_deref() == Some(next.as_str()) {
                return;
            }
        }
        panic!("it reads without end");
    }

    fn take(&mut self, id: &str, task: &str) {
        if self.ids.insert(id.to_owned()) {
            self.tasks.insert(task.to_owned());
        }
    }
}

/// A receiver on SQLite, even when the suite runs on PostgreSQL.
fn in_a_file() -> TestAppBuilder {
    let folder = tempfile::tempdir().unwrap();
    let store = TestStore::file_in(folder.path());
    TestAppBuilder::new(folder, store)
}

/// Stops the receiver, lets `change` modify its folder, and starts it again.
async fn restarted(app: TestApp, change: impl FnOnce(&Path)) -> TestApp {
    let (ended, builder) = app.stop().await;
    ended.unwrap();
    change(builder.folder());
    builder.start().await
}

/// Does what the error about an older database file says.
fn put_back(folder: &Path, copy: &[u8]) {
    fs::write(folder.join("receiver.db"), copy).unwrap();
    fs::remove_file(folder.join("receiver.db.mark")).unwrap();
}

async fn epoch(app: &TestApp) -> String {
    let database = app.database().await;
    let sql = "SELECT name FROM epoch ORDER BY number DESC LIMIT 1";
    let epoch = database.value(sql, &[]).await;
    database.close().await;
    epoch
}

async fn outcomes(app: &TestApp, numbers: std::ops::Range<usize>) -> Vec<String> {
    let mut ids = Vec::new();
    for number in numbers {
        ids.push(outcome(app, number).await);
    }
    ids
}

#[tokio::test]
async fn a_consumer_loses_nothing_when_the_store_is_restored() {
    let (endpoint, mut consumer) = (Endpoint::good().await, Consumer::default());
    let app = delivering(in_a_file(), &[("billing", &endpoint.url())])
        .start()
        .await;
    let mut tasks = outcomes(&app, 0..2).await;
    endpoint.has(2).await;
    let mut copy = Vec::new();
    let app = restarted(app, |folder| {
        copy = fs::read(folder.join("receiver.db")).unwrap();
    })
    .await;
    tasks.extend(outcomes(&app, 2..5).await);
    consumer.read(&app).await;
    endpoint.has(5).await;
    let app = restarted(app, |folder| put_back(folder, &copy)).await;
    // These events have the same numbers as the lost ones.
    tasks.extend(outcomes(&app, 5..10).await);
    consumer.read(&app).await;
    let delivered = endpoint.has(10).await;
    let tasks: BTreeSet<String> = tasks.into_iter().collect();
    assert_eq!(consumer.tasks, tasks);
    let mut by_webhook = Consumer::default();
    for one in &delivered {
        by_webhook.take(one.id(), one.json()["id"].as_str().unwrap());
    }
    assert_eq!(
        by_webhook.tasks, tasks,
        "also those who drop by the `webhook-id`"
    );
    app.stop().await.0.unwrap();
}

#[tokio::test]
async fn a_consumer_loses_nothing_when_another_store_takes_over_the_address() {
    let mut consumer = Consumer::default();
    let app = in_a_file().start().await;
    post(&app, 0..5, "failed").await;
    consumer.read(&app).await;
    let app = restarted(app, |folder| {
        for suffix in ["", ".mark"] {
            fs::remove_file(folder.join(format!("receiver.db{suffix}"))).unwrap();
        }
        // An operator says so that nothing is missing.
        fs::write(folder.join("receiver.db"), "").unwrap();
    })
    .await;
    post(&app, 5..8, "failed").await;
    consumer.read(&app).await;
    assert_eq!(consumer.tasks.len(), 8, "{:?}", consumer.tasks);
    app.stop().await.0.unwrap();
}

#[tokio::test]
async fn two_receivers_that_deliver_to_one_endpoint_use_no_id_twice() {
    let endpoint = Endpoint::good().await;
    let start = || delivering(TestApp::builder(), &[("billing", &endpoint.url())]).start();
    let apps = [start().await, start().await];
    for app in &apps {
        outcomes(app, 0..3).await;
    }
    let delivered = endpoint.has(6).await;
    let ids: BTreeSet<&str> = delivered.iter().map(Received::id).collect();
    assert_eq!(ids.len(), 6, "{ids:?}");
    for app in apps {
        app.stop().await.0.unwrap();
    }
}

async fn ask(app: &TestApp, last: &str, accept: &str) -> Answer {
    let request = app.request(Method::GET, "/v1/events?after=0");
    send(
        request
            .header("accept", accept)
            .header("last-event-id", last),
    )
    .await
}

/// The store is restored to the same backup twice, so it knows the first and the third epoch, but
/// not the second.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cursor_of_an_earlier_epoch_is_good_up_to_the_start_of_the_next_one() {
    let app = in_a_file().start().await;
    post(&app, 0..4, "processing").await;
    let first = epoch(&app).await;
    let mut copy = Vec::new();
    let app = restarted(app, |folder| {
        copy = fs::read(folder.join("receiver.db")).unwrap();
    })
    .await;
    assert_eq!(epoch(&app).await, first, "a restart begins no epoch");
    post(&app, 4..9, "processing").await;
    let app = restarted(app, |folder| put_back(folder, &copy)).await;
    let second = epoch(&app).await;
    post(&app, 9..10, "processing").await;
    let app = restarted(app, |folder| put_back(folder, &copy)).await;
    let third = epoch(&app).await;
    assert_eq!(BTreeSet::from([&first, &second, &third]).len(), 3);
    post(&app, 20..22, "processing").await;
    let page = get(&app, "/v1/events").await.body;
    let ids: Vec<&str> = page["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["id"].as_str().unwrap())
        .collect();
    let id = |epoch: &str, seq: i64| format!("{epoch}-{seq}");
    let wanted: Vec<String> = (1..=6)
        .map(|seq| id(if seq > 4 { &third } else { &first }, seq))
        .collect();
    assert_eq!(ids, wanted, "an event keeps the id that it was given");
    for (last, status, resume) in [
        (id(&first, 3), 200, None),
        (id(&first, 4), 200, None),
        (id(&first, 5), 410, Some(id(&third, 4))),
        (id(&second, 5), 410, Some(id(&third, 0))),
        (id("wwwwwwww", 1), 410, Some(id(&third, 0))),
        (id(&third, 6), 200, None),
        (id(&third, 7), 400, None),
        ("6".to_owned(), 200, None),
        ("7".to_owned(), 400, None),
        (String::new(), 200, None),
    ] {
        let answer = ask(&app, &last, "application/json").await;
        assert_eq!(answer.status, status, "{last}: {answer:?}");
        let named = answer.body["error"]["resume_after"].as_str();
        assert_eq!(named, resume.as_deref(), "{last}");
        if status == 200 {
            let seq = EventId::parse(&last).map_or(last.parse().unwrap_or(0), |id| id.seq);
            let wanted: Vec<i64> = (seq + 1..=6).collect();
            assert_eq!(seqs(&answer.body), wanted, "{last}");
        } else {
            let code = if status == 410 {
                "cursor_expired"
            } else {
                "invalid_request"
            };
            let stream = ask(&app, &last, "text/event-stream").await;
            stream.assert_error(status, code, Some("Last-Event-ID"), &last);
        }
    }
    let mut reader = SseReader::open(app.internal, &format!("after={}", id(&third, 4)), None).await;
    assert_eq!(reader.take(2).await.len(), 2);
    drop(reader);
    app.stop().await.0.unwrap();
}

/// A tape, or a snapshot of a folder: the high-water mark belongs to the copy, but the file is
/// another one.
#[tokio::test]
async fn a_copy_of_the_whole_folder_is_another_epoch() {
    let app = in_a_file().start().await;
    post(&app, 0..2, "processing").await;
    let before = epoch(&app).await;
    let app = restarted(app, |folder| {
        fs::copy(folder.join("receiver.db"), folder.join("copy")).unwrap();
        fs::rename(folder.join("copy"), folder.join("receiver.db")).unwrap();
    })
    .await;
    assert_ne!(epoch(&app).await, before);
    let page = get(&app, &format!("/v1/events?after={before}-1")).await;
    assert_eq!((page.status, seqs(&page.body)), (200, vec![2]));
    app.stop().await.0.unwrap();
}

#[tokio::test]
async fn a_database_that_never_had_the_epoch_of_the_mark_is_refused() {
    let (app, other) = (in_a_file().start().await, in_a_file().start().await);
    post(&app, 0..2, "processing").await;
    post(&other, 0..9, "processing").await;
    let (_, builder) = app.stop().await;
    let (_, other) = other.stop().await;
    let file = |builder: &TestAppBuilder| builder.folder().join("receiver.db");
    fs::copy(file(&other), file(&builder)).unwrap();
    let refused = builder.try_build().await.map(drop).unwrap_err();
    assert_eq!(refused.exit as u8, 65, "{refused}");
    let mark = builder.folder().join("receiver.db.mark");
    assert!(
        refused
            .message
            .ends_with(&format!("remove {}", mark.display())),
        "{refused}"
    );
    fs::remove_file(mark).unwrap();
    let app = builder.start().await;
    assert_eq!(seqs(&get(&app, "/v1/events").await.body).len(), 9);
    app.stop().await.0.unwrap();
}

#[tokio::test]
async fn no_statement_changes_or_removes_an_epoch() {
    let app = TestApp::start().await;
    let database = app.database().await;
    for (sql, why) in [
        ("DELETE FROM epoch", "an epoch stays"),
        ("UPDATE epoch SET after_seq = 7", "an epoch never changes"),
    ] {
        let refused = database.try_execute(sql).await.unwrap_err();
        assert_eq!(refused.as_database_error().unwrap().message(), why);
    }
    database.close().await;
    app.stop().await.0.unwrap();
}
