//! No wake-up is lost, however a waiting query and the callback that ends it meet.

use super::nobody_waits;
use crate::support::app::TestApp;
use crate::support::app::wait_races::{assert_woken, rounds};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i32_a_callback_and_a_query_that_meet_lose_no_wake_up() {
    let app = TestApp::start().await;
    assert_woken(&app, &app, rounds(), "one").await;
    nobody_waits(&app).await;
    app.stop().await.0.unwrap();
}
