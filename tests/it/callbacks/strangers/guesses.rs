//! A client without a valid token can neither make the receiver write nor learn anything from it.

use std::fs;
use std::time::{Duration, SystemTime};

use evolink_receiver::domain::callback::{KeyRing, Subject};
use evolink_receiver::domain::ids::SubmissionId;
use tokio::time::{Instant, sleep};

use crate::support::app::desk::{Desk, Submit};
use crate::support::app::{START as NOW, TestApp};

const GUESSES: usize = 20_000;

/// Far above any time under test: reaching it means that the event will never happen.
const PATIENCE: Duration = Duration::from_mins(1);

/// Requests that one connection accepts.
const PER_CONNECTION: usize = 100;

/// Size and modification time of the database's files.
fn files(app: &TestApp) -> Vec<(u64, SystemTime)> {
    // When a database server writes to its files is its own business. Its rows are checked anyway.
    let Some(file) = app.store.file() else {
        return Vec::new();
    };
    let name = file.display().to_string();
    let paths = [name.clone(), format!("{name}-wal")];
    let look =
        |path: &String| fs::metadata(path).map(|file| (file.len(), file.modified().unwrap()));
    paths.iter().map(|path| look(path).unwrap()).collect()
}

/// Returns `files` once the whole log has been checkpointed, by this test or the receiver. From
/// then on nothing writes to the files until something is recorded.
async fn files_at_rest(app: &TestApp) -> Vec<(u64, SystemTime)> {
    if app.store.file().is_none() {
        return Vec::new();
    }
    let database = app.database().await;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let fold_in = database.try_rows("PRAGMA wal_checkpoint(PASSIVE)", &[]);
        let rows: Vec<(i64, i64, i64)> = fold_in.await.unwrap();
        // The first column is 1 (busy) while the receiver runs a checkpoint.
        if matches!(rows[..], [(0, written, folded_in)] if written == folded_in) {
            database.close().await;
            return files(app);
        }
        assert!(Instant::now() < deadline, "the log is not folded in");
        sleep(Duration::from_millis(5)).await;
    }
}

/// The `n`th guess. All guesses are wrong, in ten different ways.
fn guess(n: usize, known: &Submit, ours: &KeyRing, foreign: &KeyRing) -> String {
    let good = &known.token;
    let fresh = Subject::Submission(SubmissionId::new(NOW));
    let random = || fastrand::alphanumeric();
    let filler = |length| (0..length).map(|_| random()).collect::<String>();
    let (start, mac) = good.rsplit_once('.').unwrap();
    match n % 10 {
        0 => format!("{start}.{}", filler(mac.len())),
        1 => foreign.mint(&fresh),
        2 => foreign.mint(&Subject::Standing("shop".parse().unwrap())),
        3 => format!("{}.{mac}", ours.mint(&fresh).rsplit_once('.').unwrap().0),
        4 => filler(fastrand::usize(1..200)),
        5 => good[..fastrand::usize(1..good.len())].to_owned(),
        6 => format!("{good}{}", random()),
        7 => ours.mint(&Subject::Submission(SubmissionId::new(
            NOW.before(Duration::from_hours(91 * 24)),
        ))),
        8 => good.replace('.', "%2e"),
        _ => format!(
            "{start}.{}{}",
            if n % 20 == 9 { '-' } else { '~' },
            filler(8)
        ),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn i39_a_flood_of_guesses_writes_nothing_and_learns_nothing() {
    let mut desk = Desk::open().await;
    let submit = desk.bound().await;
    let foreign = KeyRing::parse(&KeyRing::generate().unwrap()).unwrap();
    let on_disk = files_at_rest(&desk.app).await;
    let (before, version) = (desk.rows().await, desk.version().await);
    let mut answers = std::collections::BTreeSet::new();
    for start in (0..GUESSES).step_by(PER_CONNECTION) {
        let mut client = desk.app.raw_public().await;
        let requests: Vec<String> = (start..start + PER_CONNECTION)
            .map(|n| {
                let token = guess(n, &submit, &desk.app.key_ring, &foreign);
                format!("POST /callbacks/{token} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
            })
            .collect();
        client.send(requests.concat()).await;
        for _ in 0..PER_CONNECTION {
            let mut response = client.read_response().await;
            // The last answer on a connection has a `Connection` header, whatever the answer is.
            response
                .headers
                .retain(|(name, _)| !["date", "connection", "keep-alive"].contains(&name.as_str()));
            answers.insert(format!("{response:?}"));
        }
    }
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert!(
        answers.iter().all(|answer| answer.contains("status: 404")),
        "{answers:?}"
    );
    assert_eq!((desk.rows().await, desk.version().await), (before, version));
    assert_eq!(files(&desk.app), on_disk);
    assert_eq!(
        desk.app
            .counter("evolink_receiver_callbacks_received_total"),
        0
    );
    desk.assert_well("the flood").await;
}
