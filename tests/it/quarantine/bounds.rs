//! Quarantine is bounded, whatever the holder of one callback URL, or all holders together, may
//! send (rule B8).

use evolink_receiver::config::ByteSize;
use futures_util::{StreamExt as _, stream};
use reqwest::Method;
use serde_json::json;

use crate::support::app::callback_body::{body, completed};
use crate::support::app::desk::{Answer, Desk};
use crate::support::app::quarantine::{put, totals};
use crate::support::process::Place;
use crate::support::store::database::Bind;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t35_of_ten_thousand_bodies_of_one_token_twenty_are_kept_and_the_rest_is_counted() {
    let mut desk = Desk::open().await;
    let submit = desk.bound().await;
    let send = async |n: u32| desk.app.callback(&submit.token, format!("bad {n}")).await.0;
    let statuses = stream::iter(0..10_000).map(send).buffer_unordered(64);
    let refused = statuses
        .filter(|status| std::future::ready(*status == 400))
        .count();
    assert_eq!(
        refused.await,
        10_000,
        "answered as the contract says, kept or not"
    );
    let [counted, there] = totals(&desk.database).await;
    assert_eq!(counted, there);
    assert_eq!(there.0, 20);
    let dropped = desk
        .app
        .counter("evolink_receiver_quarantine_dropped_total");
    assert_eq!(dropped, 9980);
    assert_eq!(desk.app.counter("evolink_receiver_quarantine_entries"), 20);
    desk.check(
        "the good one",
        &submit,
        completed(&submit.task_id),
        Answer::Recorded,
    )
    .await;
}

#[tokio::test]
async fn of_large_bodies_as_many_bytes_are_kept_as_one_token_may() {
    let desk = Desk::open().await;
    let submit = desk.bound().await;
    for n in 0..20 {
        let (status, _) = desk
            .app
            .callback(&submit.token, n.to_string() + &"x".repeat(200_000))
            .await;
        assert_eq!(status, 400);
    }
    let [counted, there] = totals(&desk.database).await;
    assert_eq!(counted, there);
    assert_eq!(there.0, 5, "of 200 kB each");
    assert!((1_000_000..=1024 * 1024).contains(&there.1), "{there:?}");
    // A small body still fits.
    assert_eq!(desk.app.callback(&submit.token, "small").await.0, 400);
    assert_eq!(totals(&desk.database).await[1].0, 6);
}

#[tokio::test]
async fn when_all_of_it_is_full_the_oldest_make_room() {
    let desk = Desk::open_with(|config| config.quarantine.max_entries = 30).await;
    let mut submits = Vec::new();
    for _ in 0..5 {
        let submit = desk.bound().await;
        for n in 0..20 {
            assert_eq!(
                desk.app.callback(&submit.token, format!("bad {n}")).await.0,
                400
            );
        }
        submits.push(submit);
        let [counted, there] = totals(&desk.database).await;
        assert_eq!(counted, there);
        assert!(there.0 <= 30, "{there:?}");
    }
    let kept: Vec<String> = desk
        .database
        .values("SELECT subject FROM quarantine ORDER BY id", &[])
        .await;
    let expected = [
        vec![submits[3].submission_id.clone(); 10],
        vec![submits[4].submission_id.clone(); 20],
    ];
    assert_eq!(kept, expected.concat());
    assert_eq!(
        desk.app
            .counter("evolink_receiver_quarantine_evicted_total"),
        70
    );
    // The first URL may add an entry again, and an entry's number is never reused.
    assert_eq!(desk.app.callback(&submits[0].token, "bad 0").await.0, 400);
    let numbers = "SELECT min(id), max(id), count(*) FROM quarantine";
    let numbers: (i64, i64, i64) = desk.database.row(numbers, &[]).await;
    assert_eq!(numbers, (72, 101, 30));
    desk.assert_well("a full quarantine").await;
}

#[tokio::test]
async fn when_all_of_it_is_full_of_bytes_the_oldest_make_room() {
    let desk = Desk::open_with(|config| {
        config.quarantine.max_bytes = ByteSize::kib(1024);
    })
    .await;
    let large = |n: u32| n.to_string() + &"x".repeat(250_000);
    for n in 0..3 {
        let submit = desk.bound().await;
        for m in 0..4 {
            assert_eq!(
                desk.app.callback(&submit.token, large(n * 10 + m)).await.0,
                400
            );
        }
        let [counted, there] = totals(&desk.database).await;
        assert_eq!(counted, there);
        assert!(there.1 <= 1024 * 1024, "{there:?}");
        assert_eq!(there.0, 4, "all of this one");
    }
}

#[tokio::test]
async fn bounds_that_were_made_smaller_are_reached_and_gauges_tell_what_others_keep() {
    let desk = Desk::open().await;
    let mut first = 0;
    for n in 0..3 {
        let subject = format!("~label-{n}");
        for m in 0..20 {
            first = put(&desk.database, &subject, &format!("bad {m}")).await;
        }
    }
    assert!(first > 0);
    let metrics = desk
        .app
        .request(Method::GET, "/metrics")
        .send()
        .await
        .unwrap();
    let metrics = metrics.text().await.unwrap();
    assert!(
        metrics.contains("evolink_receiver_quarantine_entries 60\n"),
        "{metrics}"
    );
    let Desk { app, simulator, .. } = desk;
    let (ended, builder) = app.stop().await;
    ended.unwrap();
    let app = builder
        .with(|config| config.quarantine.max_entries = 25)
        .start()
        .await;
    let database = app.database().await;
    assert_eq!(totals(&database).await[1].0, 60, "until something is added");
    let token = app.standing_token("new");
    assert_eq!(app.callback(&token, "bad").await.0, 400);
    let [counted, there] = totals(&database).await;
    assert_eq!((counted, there.0), (there, 25));
    drop(simulator);
}

#[tokio::test]
async fn a_conflict_is_told_once_however_often_it_comes() {
    let mut desk = Desk::open().await;
    let submit = desk.bound().await;
    desk.check(
        "first",
        &submit,
        completed(&submit.task_id),
        Answer::Recorded,
    )
    .await;
    let failed = body(&submit.task_id, "failed", &json!({}));
    for _ in 0..5 {
        assert_eq!(
            desk.app
                .callback_result(&submit.token, failed.clone())
                .await,
            "conflict"
        );
    }
    let sql = "SELECT repeats FROM quarantine WHERE subject = $1";
    let repeats: i64 = desk
        .database
        .value(sql, &[Bind::Text(&submit.submission_id)])
        .await;
    assert_eq!(repeats, 4);
    let events = desk.events(&submit).await;
    assert_eq!(
        events,
        ["task.submitted", "task.completed", "task.conflict"]
    );
}

#[tokio::test]
async fn the_log_has_a_line_for_each_body_that_is_kept_and_one_for_all_the_others() {
    let place = Place::new();
    let mut receiver = place.start().await;
    for _ in 0..2 {
        for n in 0..100 {
            let answer = receiver.callback(format!("bad {n}")).await;
            assert_eq!(answer.map(|(status, _)| status), Some(400));
        }
    }
    receiver.terminate();
    assert!(receiver.ended().await.success());
    let log = receiver.log();
    let count = |words: &str| log.lines().filter(|line| line.contains(words)).count();
    assert_eq!(count("kept in quarantine"), 20, "{log}");
    assert_eq!(count("quarantine is at its bounds"), 1, "{log}");
}

#[tokio::test]
async fn what_is_not_for_quarantine_does_not_touch_its_count() {
    let desk = Desk::open().await;
    let submit = desk.bound().await;
    let intruder = desk.intruder().await;
    let refuse = intruder.either(
        "CREATE TRIGGER refuse BEFORE UPDATE ON quarantine_total BEGIN SELECT RAISE(ABORT, 'refused'); END",
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'refused'; END $$;
         CREATE TRIGGER refuse BEFORE UPDATE ON quarantine_total FOR EACH ROW EXECUTE FUNCTION refuse()",
    );
    intruder.execute(refuse).await;
    let good = completed(&submit.task_id);
    assert_eq!(
        desk.app.callback_result(&submit.token, good.clone()).await,
        "recorded"
    );
    assert_eq!(
        desk.app.callback_result(&submit.token, good).await,
        "duplicate"
    );
    assert_eq!(
        desk.app.callback(&submit.token, "bad").await.0,
        503,
        "it cannot be counted, so it is not kept, and EvoLink comes again"
    );
    intruder.stop_refusing().await;
    assert_eq!(desk.app.callback(&submit.token, "bad").await.0, 400);
}
