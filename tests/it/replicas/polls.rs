//! All replicas look for overdue tasks, and each task is asked about by one of them.

use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;

use crate::support::app::TestAppBuilder;
use crate::support::raw_server::{End, RawServer, http};
use crate::support::store::TestStore;
use crate::support::until::until;

/// Three looks of a reconciler: enough for a second question to come.
const SOME_TICKS: Duration = Duration::from_millis(1800);

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn while_one_replica_waits_for_evolink_no_other_asks_about_the_task() {
    let Some(store) = TestStore::on_postgres() else {
        return;
    };
    let answer = |request: &str| {
        let task = json!({"id": "task-unified-1-slow", "status": "pending"}).to_string();
        let whole = http(200, &[], &task);
        if request.starts_with("POST ") {
            whole
        } else {
            whole[..whole.len() - 1].to_vec()
        }
    };
    let evolink = RawServer::start_answering(answer, End::Open).await;
    let url = evolink.url.parse().unwrap();
    let builder = TestAppBuilder::new(tempfile::tempdir().unwrap(), store)
        .with_manual_clock()
        .with(|config| config.evolink.base_url = url);
    let first = builder.clone().start().await;
    let _others = (builder.clone().start().await, builder.start().await);
    first.submitted("slow").await;
    let polls = || {
        let requests = evolink.requests();
        requests
            .iter()
            .filter(|text| text.starts_with("GET "))
            .count()
    };
    sleep(SOME_TICKS).await;
    assert_eq!(polls(), 0, "before its time");
    first.clock.advance(Duration::from_secs(15));
    until("the poll", || polls() == 1).await;
    sleep(SOME_TICKS).await;
    assert_eq!(polls(), 1);
}
