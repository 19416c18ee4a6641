//! The main job, end to end: submit, callback over HTTPS, durable outcome, query.

use evolink_receiver::simulator::Options;

use crate::support::app::TestApp;

#[tokio::test]
async fn a_submitted_task_is_called_back_and_can_be_asked_for() {
    let (app, simulator) = TestApp::start_with_simulator(Options::default()).await;
    let task = app.submitted("a cute cat [sim:duration=200ms]").await;
    assert_eq!(task["status"], "pending");
    let id = task["id"].as_str().unwrap();
    let done = app
        .task_when(id, |task| task["status"] == "completed")
        .await;
    assert_eq!(done["receiver"]["source"], "callback");
    assert_eq!(done["receiver"]["state"], "completed");
    assert_eq!(
        done["receiver"]["submission_id"],
        task["receiver"]["submission_id"]
    );
    assert_eq!(simulator.stats().charges, 1);
    app.assert_counters_balance();
    app.stop().await.0.unwrap();
}
