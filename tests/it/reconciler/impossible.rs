//! Rows with impossible values, which another program or a faulty disk made. Each is judged alone.

use evolink_receiver::simulator::Options;
use serde_json::Value;

use super::{builder, seconds};
use crate::support::until::until;

#[tokio::test]
async fn an_impossible_row_does_not_stop_the_polls_of_other_tasks() {
    let (app, _evolink) = builder().start_with_simulator(Options::default()).await;
    let mut ids = Vec::new();
    for _ in 0..70 {
        let task = app.submitted("[sim:lost-callback,duration=0ms]").await;
        ids.push(task["id"].as_str().unwrap().to_owned());
    }
    let database = app.store.connect().await;
    // More than one scan finds. The first half cannot be read at all, and the second half cannot be
    // claimed. The last one is due after all of them.
    database
        .execute(
            "UPDATE task SET polls = -1, next_poll_at = 1 WHERE seq <= 35;
            UPDATE task SET source = NULL, next_poll_at = 2 WHERE seq > 35 AND seq < 70",
        )
        .await;
    app.clock.advance(seconds(60));
    let is_over = |task: &Value| task["status"] == "completed";
    app.task_when(&ids[69], is_over).await;
    until("they are counted", || {
        app.counter("evolink_receiver_tasks_unreadable") >= 35
    })
    .await;
    let open: i64 = database
        .value("SELECT count(*) FROM task WHERE state <> 'completed'", &[])
        .await;
    assert_eq!(open, 69);
    app.stop().await.0.unwrap();
}
