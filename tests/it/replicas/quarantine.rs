//! Several receivers share one quarantine: one count, one limit, and each entry replayed once among
//! all of them.

use futures_util::future::join_all;

use super::three::{Replicas, completed, tally};
use crate::support::app::quarantine::{put, replay, totals};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_replays_on_all_replicas_at_the_same_moment_one_records() {
    let Some(replicas) = Replicas::start().await else {
        return;
    };
    for round in 0..10 {
        let submit = replicas.submit(round % 3).await;
        let body = completed(&submit.task_id);
        let id = put(&replicas.database, &submit.submission_id, &body).await;
        let apps = replicas.apps.iter().cycle().take(12);
        let answers = join_all(apps.map(|app| replay(app, id))).await;
        let results = answers.into_iter().map(|(status, answer)| {
            assert_eq!(status, 200, "{answer}");
            answer["result"].as_str().unwrap().to_owned()
        });
        let results = tally(results);
        assert_eq!((results["recorded"], results["duplicate"]), (1, 11));
        assert_eq!(
            replicas.events(&submit).await,
            ["task.submitted", "task.completed"]
        );
    }
    replicas.assert_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_on_all_replicas_at_once_are_counted_and_bounded_together() {
    let Some(replicas) = Replicas::start().await else {
        return;
    };
    let submit = replicas.submit(0).await;
    let apps = replicas.apps.iter().cycle().enumerate().take(150);
    let sent = apps.map(|(n, app)| app.callback(&submit.token, format!("bad {}", n / 3)));
    for (status, answer) in join_all(sent).await {
        assert_eq!(status, 400, "{answer}");
    }
    let [counted, there] = totals(&replicas.database).await;
    assert_eq!((counted, there.0), (there, 20));
    let repeats = "SELECT CAST(sum(repeats) AS BIGINT) FROM quarantine";
    let repeats: i64 = replicas.database.value(repeats, &[]).await;
    assert_eq!(repeats, 40, "each came by every replica");
    let dropped = replicas.counted("evolink_receiver_quarantine_dropped_total");
    assert_eq!(dropped, 90);
    for app in &replicas.apps {
        let metrics = app.request(reqwest::Method::GET, "/metrics").send();
        let metrics = metrics.await.unwrap().text().await.unwrap();
        assert!(
            metrics.contains("evolink_receiver_quarantine_entries 20\n"),
            "whoever kept them: {metrics}"
        );
    }
    replicas.assert_well().await;
}
