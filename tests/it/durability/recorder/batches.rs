//! The recorder's batches: what one entry may do to the others, and what its caller may do to it.

use std::time::Duration;

use bytes::Bytes;
use evolink_receiver::clock::Clock;
use evolink_receiver::domain::ids::SubmissionId;
use evolink_receiver::domain::key_use::KeyLimits;
use evolink_receiver::domain::kind::Kind;
use evolink_receiver::store::StoreError;
use evolink_receiver::store::recorder::Recorder;
use evolink_receiver::store::recorder::entry::{Entry, Idempotency, Intent, Receipt, SubmitEnded};
use futures_util::FutureExt;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::bench::Bench;
use crate::support::campaign::random;
use crate::support::recorder::entry::entry;
use crate::support::store::database::Bind;
use crate::support::store::{self, check};

type Recorded = (usize, Result<Receipt, StoreError>);

/// Queues one entry for each word, in order. The number of the task is the position of the word.
fn queue(recorder: &Recorder, words: &[&str]) -> JoinSet<Recorded> {
    let mut callers = JoinSet::new();
    for (number, word) in words.iter().enumerate() {
        let recorder = recorder.clone();
        let entry = entry(&format!("task-{number}"), word);
        callers.spawn(async move { (number, recorder.record(entry).await) });
    }
    callers
}

#[tokio::test]
async fn a_bad_row_is_refused_to_its_own_caller_only() {
    // ROLLBACK ends the transaction without the driver's knowledge, as a full disk does. Only
    // SQLite has these three ways.
    let ways = ["ABORT", "FAIL", "ROLLBACK"];
    let ways = if store::is_postgres() {
        &ways[..1]
    } else {
        &ways
    };
    for how in ways {
        let (bench, worker) = Bench::new().await;
        bench.refuse_poison(how).await;
        let mut words = ["good"; 50];
        words[7] = "poison";
        words[33] = "poison";
        let callers = queue(&bench.recorder, &words);
        // Let the callers run until they wait, before the recorder takes its first batch.
        tokio::task::yield_now().await;
        let stop = CancellationToken::new();
        let worker = tokio::spawn(worker.run(stop.clone()));
        for (number, recorded) in callers.join_all().await {
            let is_bad = words[number] == "poison";
            assert_eq!(recorded.is_err(), is_bad, "{how}: {number}: {recorded:?}");
        }
        assert_eq!(bench.kept().await, 48, "{how}");
        bench.assert_no_transaction_is_open().await;
        let after = bench.recorder.record(entry("task-after", "good")).await;
        assert!(after.is_ok(), "{how}: the next one: {after:?}");
        bench.assert_events_are_numbered(49).await;
        assert!(
            !bench.recorder.failed().is_cancelled(),
            "a bad row is no failed disk"
        );
        stop.cancel();
        worker.await.unwrap();
    }
}

#[tokio::test]
async fn once_the_disk_has_failed_nothing_is_recorded() {
    let (bench, worker) = Bench::new().await;
    let callers = queue(&bench.recorder, &["good"; 5]);
    bench.recorder.failed().cancel();
    let worker = tokio::spawn(worker.run(CancellationToken::new()));
    for (_, recorded) in callers.join_all().await {
        assert!(matches!(recorded, Err(StoreError::Stopped)), "{recorded:?}");
    }
    assert_eq!(bench.kept().await, 0);
    worker.abort();
}

#[tokio::test]
async fn a_caller_that_went_away_is_recorded_all_the_same() {
    let (bench, worker) = Bench::new().await;
    for number in 0..10 {
        let waiting = bench
            .recorder
            .record(entry(&format!("task-{number}"), "good"));
        assert!(waiting.now_or_never().is_none(), "it waits for the disk");
    }
    let stop = CancellationToken::new();
    stop.cancel();
    // When the worker is asked to stop, it records what is queued and ends.
    worker.run(stop).await;
    assert_eq!(bench.kept().await, 10);
    let late = bench.recorder.record(entry("task-late", "good")).await;
    assert!(matches!(late, Err(StoreError::Stopped)), "{late:?}");
}

#[tokio::test]
async fn a_full_queue_refuses_at_once_and_takes_more_later() {
    let (bench, worker) = Bench::new().await;
    let mut waiting = 0;
    let refused = loop {
        let entry = entry(&format!("task-{waiting}"), "good");
        match bench.recorder.record(entry).now_or_never() {
            None => waiting += 1,
            Some(answer) => break answer,
        }
        assert!(waiting < 1_000_000, "the queue has an end");
    };
    assert!(
        matches!(refused, Err(StoreError::Overloaded)),
        "{refused:?}"
    );
    let stop = CancellationToken::new();
    let worker = tokio::spawn(worker.run(stop.clone()));
    // The first entry that fits is queued behind all the others.
    let mut late = bench.recorder.record(entry("task-late", "good")).await;
    for _ in 0..10_000 {
        if !matches!(late, Err(StoreError::Overloaded)) {
            break;
        }
        tokio::task::yield_now().await;
        late = bench.recorder.record(entry("task-late", "good")).await;
    }
    assert!(late.is_ok(), "{late:?}");
    assert_eq!(bench.kept().await, waiting + 1);
    stop.cancel();
    worker.await.unwrap();
}

/// Rules F1, F3, I7: a cancelled caller leaves no transaction open, and no later
/// acknowledgement depends on one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancelled_callers_leave_no_transaction_behind() {
    let (bench, worker) = Bench::new().await;
    bench.refuse_poison("ROLLBACK").await;
    let mut random = random();
    let stop = CancellationToken::new();
    let worker = tokio::spawn(worker.run(stop.clone()));
    for number in 0..300 {
        let word = if random.u8(..8) == 0 {
            "poison"
        } else {
            "good"
        };
        let cancelled = entry(&format!("task-cancelled-{number}"), word);
        let recording = bench.recorder.record(cancelled);
        let patience = Duration::from_micros(random.u64(..3000));
        let _ = tokio::time::timeout(patience, recording).await;
        let id = format!("task-kept-{number}");
        let kept = bench.recorder.record(entry(&id, "good")).await;
        assert!(kept.is_ok(), "{kept:?}");
        // An acknowledged entry is visible to another connection.
        let sql = "SELECT count(*) FROM task WHERE task_id = $1";
        let seen: i64 = bench.database.value(sql, &[Bind::Text(&id)]).await;
        assert_eq!(seen, 1, "{id} was acknowledged");
    }
    stop.cancel();
    worker.await.unwrap();
    bench.assert_no_transaction_is_open().await;
    let faults = check::faults(&bench.home, &[]).await;
    assert!(faults.is_empty(), "{faults:#?}");
}

#[tokio::test]
async fn a_refusal_recorded_twice_keeps_the_idempotency_key_of_the_next_attempt() {
    let (bench, worker) = Bench::new().await;
    let stop = CancellationToken::new();
    let worker = tokio::spawn(worker.run(stop.clone()));
    let key = Idempotency {
        name: "web/abcdefghijklmnop".to_owned(),
        fingerprint: [7; 32],
    };
    let intend = async |id| {
        let intent = Intent {
            submission_id: id,
            client: None,
            kind: Kind::Image,
            model: "z-image-turbo".to_owned(),
            reference: None,
            request: Bytes::from_static(b"{}"),
            callback_url: None,
            idempotency: Some(key.clone()),
            guard: None,
            limits: KeyLimits::default(),
        };
        bench.recorder.record(Entry::Intent(intent)).await.unwrap()
    };
    let refuse = async |submission_id| {
        let ended = SubmitEnded::Refused {
            answer: None,
            idempotency: Some(key.clone()),
        };
        let entry = Entry::SubmitEnded {
            submission_id,
            ended,
        };
        bench.recorder.record(entry).await.unwrap();
    };
    let [first, second, third] = [(); 3].map(|()| SubmissionId::new(Clock::System.now()));
    assert!(!matches!(intend(first).await, Receipt::Replay(_)));
    refuse(first).await;
    assert!(!matches!(intend(second).await, Receipt::Replay(_)));
    // Simulates a lost answer of the recorder: its caller sends the same entry again.
    refuse(first).await;
    let again = intend(third).await;
    assert!(
        matches!(again, Receipt::Replay(id) if id == second),
        "{again:?}"
    );
    stop.cancel();
    worker.await.unwrap();
}

#[tokio::test]
async fn a_due_poll_is_claimed_once_and_again_only_after_its_lease() {
    let (bench, worker) = Bench::new().await;
    let stop = CancellationToken::new();
    let running = tokio::spawn(worker.run(stop.clone()));
    bench.recorder.record(entry("task-0", "due")).await.unwrap();
    let id: String = bench
        .database
        .value("SELECT submission_id FROM task", &[])
        .await;
    let claim = |lease| {
        let submission_id = id.parse().unwrap();
        bench.recorder.record(Entry::PollBegun {
            submission_id,
            lease,
        })
    };
    let long = Duration::from_hours(1);
    assert_eq!(
        claim(long).await.unwrap(),
        Receipt::NotDue,
        "before its time"
    );
    let due = "UPDATE task SET next_poll_at = 1";
    bench.database.execute(due).await;
    assert_eq!(claim(Duration::ZERO).await.unwrap(), Receipt::Done);
    assert_eq!(
        claim(long).await.unwrap(),
        Receipt::Done,
        "its lease is over"
    );
    assert_eq!(claim(long).await.unwrap(), Receipt::NotDue, "it is claimed");
    stop.cancel();
    running.await.unwrap();
}

/// How often the server was asked for a batch of five entries, by the fault with which it answers.
#[tokio::test]
async fn entries_are_recorded_one_by_one_only_until_the_store_is_to_blame() {
    if !store::is_postgres() {
        return;
    }
    for (fault, wanted) in [
        ("57014: too slow, which is no entry's fault", 1),
        (
            "42501: a right is missing, as the first entry alone shows",
            2,
        ),
        ("P0001: refused, which each entry may be alone", 6),
    ] {
        let (bench, worker) = Bench::new().await;
        // A rollback does not return the numbers of a sequence.
        let code = &fault[..5];
        let refuse = format!(
            "CREATE SEQUENCE batches; CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                PERFORM nextval('batches'); RAISE EXCEPTION 'refused' USING ERRCODE = '{code}'; END $$;
            CREATE TRIGGER refuse BEFORE INSERT ON observation FOR EACH ROW EXECUTE FUNCTION refuse()"
        );
        bench.database.execute(&refuse).await;
        let callers = queue(&bench.recorder, &["good"; 5]);
        tokio::task::yield_now().await;
        let stop = CancellationToken::new();
        stop.cancel();
        worker.run(stop).await;
        for (number, recorded) in callers.join_all().await {
            assert!(recorded.is_err(), "{fault}: {number}: {recorded:?}");
        }
        let batches = "SELECT last_value FROM batches";
        let asked: i64 = bench.database.value(batches, &[]).await;
        assert_eq!(asked, wanted, "{fault}");
    }
}
