//! The server goes away and comes back. Meanwhile EvoLink is answered 503, and nothing is lost or
//! published twice.

use crate::replicas::three::completed;
use crate::support::app::{TestApp, TestAppBuilder};
use crate::support::store::TestStore;
use crate::support::store::postgres::{Cluster, Options};

/// Sends the callback until the receiver has a connection again, as EvoLink does.
async fn result_at_last(app: &TestApp, token: &str, body: &str) -> String {
    for _ in 0..600 {
        let result = app.callback_result(token, body.to_owned()).await;
        if result != "503" {
            return result;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("it never came back");
}

#[tokio::test]
async fn a_receiver_recovers_after_a_server_outage() {
    let Some(mut cluster) = Cluster::start(Options::durable()).await else {
        return;
    };
    let store = TestStore::on_cluster(&cluster).await;
    let app = TestAppBuilder::new(tempfile::tempdir().unwrap(), store);
    let app = app.start().await;
    let token = app.standing_token("shop");
    for number in 0..3 {
        let before = completed(&format!("task-unified-1757165031-before{number}"));
        let after = completed(&format!("task-unified-1757165031-after{number}"));
        assert_eq!(
            app.callback_result(&token, before.clone()).await,
            "recorded"
        );
        match number {
            0 => cluster.stop_fast().await,
            1 => cluster.stop_immediate().await,
            _ => cluster.kill().await,
        }
        assert_eq!(app.callback(&token, after.clone()).await.0, 503);
        cluster.start_again().await;
        assert_eq!(result_at_last(&app, &token, &after).await, "recorded");
        assert_eq!(app.callback_result(&token, before).await, "duplicate");
    }
    app.assert_counters_balance();
}
