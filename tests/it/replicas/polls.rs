//! However many replicas there are, EvoLink is polled as often as by one, and its answers have the
//! same effect.

use std::time::Duration;

use evolink_receiver::domain::callback::Subject;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::three::{Replicas, completed};
use crate::support::app::{TestApp, TestAppBuilder};
use crate::support::net::raw_server::{NOT_FOUND, RawServer, http};
use crate::support::store::TestStore;
use crate::support::until::until;

/// Many tasks, so that replicas compete for some of them.
const TASKS: usize = 40;

/// Three scans of a reconciler: enough for a second query to happen.
const SOME_TICKS: Duration = Duration::from_millis(1800);

const ID: &str = "task-unified-1757165031-polled00";

/// EvoLink's delay before each answer. Each reconciler scans several times meanwhile.
const ANSWER_AFTER: Duration = Duration::from_millis(1500);

/// A little more than two answers take: enough time for a forbidden poll to happen.
const A_WHILE: Duration = Duration::from_millis(3500);

/// Submits once to three receivers whose EvoLink accepts `ID` and answers every poll with `poll`.
/// The task is then overdue.
async fn overdue(poll: Vec<u8>) -> Option<([TestApp; 3], RawServer)> {
    let store = TestStore::on_postgres()?;
    let pending = http(
        200,
        &[],
        &json!({"id": ID, "status": "pending"}).to_string(),
    );
    let evolink = RawServer::start_slow(ANSWER_AFTER, move |request| {
        if request.starts_with("POST ") {
            pending.clone()
        } else {
            poll.clone()
        }
    })
    .await;
    let url = evolink.url.parse().unwrap();
    let builder = TestAppBuilder::new(tempfile::tempdir().unwrap(), store)
        .with_manual_clock()
        .with(|config| config.evolink.base_url = url);
    let apps = [
        builder.clone().start().await,
        builder.clone().start().await,
        builder.start().await,
    ];
    apps[0].submitted("a").await;
    Some((apps, evolink))
}

fn polls(evolink: &RawServer) -> usize {
    let requests = evolink.requests();
    requests
        .iter()
        .filter(|request| request.starts_with("GET "))
        .count()
}

/// Waits until `count` polls were recorded, and a while longer.
async fn recorded(app: &TestApp, count: i64) {
    let database = app.database().await;
    let deadline = Instant::now() + Duration::from_mins(1);
    while database.value::<i64>("SELECT polls FROM task", &[]).await < count {
        assert!(Instant::now() < deadline, "the poll was not recorded");
        sleep(Duration::from_millis(20)).await;
    }
    sleep(A_WHILE).await;
}

/// Advances the clock to one poll after the other. Before the last of `polls` the task is
/// unchanged; then its state is `ends_as`.
async fn follow(poll: Vec<u8>, ends_as: &str) {
    let Some((apps, evolink)) = overdue(poll).await else {
        return;
    };
    // The gaps of 3 s and 6 s are up to a quarter longer.
    let gaps = [15_000, 3750, 7500].map(Duration::from_millis);
    for (number, gap) in (1..).zip(gaps) {
        apps[0].clock.advance(gap);
        recorded(&apps[0], number).await;
        assert_eq!(polls(&evolink), usize::try_from(number).unwrap());
        let (_, task) = apps[1].get(&format!("/v1/tasks/{ID}")).await;
        let expected = if number < 3 { "pending" } else { ends_as };
        assert_eq!(task["receiver"]["state"], expected, "after poll {number}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_overdue_task_is_asked_about_by_one_of_three() {
    let Some(replicas) = Replicas::start().await else {
        return;
    };
    for number in 0..TASKS {
        replicas.submit(number % 3).await;
    }
    let queries = || replicas.simulator.queries().len();
    assert_eq!(queries(), 0, "before its time");
    replicas.apps[0].clock.advance(Duration::from_secs(15));
    until("the polls", || queries() >= TASKS).await;
    sleep(SOME_TICKS).await;
    // No task has ended, and the next poll is due in 3 s, which this clock does not reach.
    assert_eq!(queries(), TASKS);
    replicas.assert_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_is_given_up_after_three_polls_not_after_one_by_each_replica() {
    Box::pin(follow(http(404, &[], NOT_FOUND), "unresolved")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn completed_without_results_is_accepted_after_three_polls_not_after_one_by_each_replica() {
    let empty = json!({"id": ID, "status": "completed", "results": []});
    Box::pin(follow(http(200, &[], &empty.to_string()), "completed")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outcome_that_was_polled_is_one_event() {
    let Some((apps, evolink)) = overdue(http(200, &[], &completed(ID))).await else {
        return;
    };
    apps[2].clock.advance(Duration::from_secs(15));
    recorded(&apps[2], 1).await;
    assert_eq!(polls(&evolink), 1);
    let sql = "SELECT type FROM event ORDER BY seq";
    let types: Vec<String> = apps[2].database().await.values(sql, &[]).await;
    assert_eq!(types, ["task.submitted", "task.completed"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unconfirmed_callback_during_a_poll_starts_no_second_poll() {
    let processing = json!({"id": ID, "status": "processing", "progress": 10});
    let processing = http(200, &[], &processing.to_string());
    let Some((apps, evolink)) = overdue(processing).await else {
        return;
    };
    let (_, task) = apps[0].get(&format!("/v1/tasks/{ID}")).await;
    let id = task["receiver"]["submission_id"].as_str().unwrap();
    let token = apps[0].token(&Subject::Submission(id.parse().unwrap()));
    apps[0].clock.advance(Duration::from_secs(15));
    until("the poll", || polls(&evolink) == 1).await;
    let (status, _) = apps[1].callback(&token, "no task body").await;
    assert_eq!(status, 400);
    recorded(&apps[0], 1).await;
    assert_eq!(polls(&evolink), 1, "the clock stands still");
}
