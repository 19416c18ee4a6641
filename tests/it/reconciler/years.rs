//! A process whose clock was years ahead has left plans behind. The next process, whose clock is
//! correct, finds them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use evolink_receiver::clock::Clock;
use evolink_receiver::domain::ids::SubmissionId;
use evolink_receiver::domain::key_use::KeyLimits;
use evolink_receiver::domain::kind::Kind;
use evolink_receiver::domain::task::polling::Pace;
use evolink_receiver::observe::metrics::Metrics;
use evolink_receiver::simulator::Options;
use evolink_receiver::store::Store;
use evolink_receiver::store::recorder::Recorder;
use evolink_receiver::store::recorder::entry::{Entry, Intent, Receipt};
use tokio_util::sync::CancellationToken;

use super::{builder, seconds};
use crate::support::app::START;

const TEN_YEARS: Duration = Duration::from_hours(10 * 365 * 24);

#[tokio::test]
async fn what_was_planned_for_ten_years_ahead_is_asked_about_at_once() {
    let builder = builder();
    let (app, simulator) = builder.start_with_simulator(Options::default()).await;
    app.clock.advance(TEN_YEARS);
    let task = app.submitted("[sim:lost-callback,duration=0ms]").await;
    let id = task["id"].as_str().unwrap();
    let (ended, builder) = app.stop().await;
    ended.unwrap();
    let app = builder.with_manual_clock().start().await;
    let task = app
        .task_when(id, |task| task["receiver"]["state"] == "completed")
        .await;
    assert_eq!(task["receiver"]["source"], "poll");
    assert_eq!(simulator.stats().polls, 1);
}

#[tokio::test]
async fn a_submit_cut_off_in_ten_years_is_unknown_now() {
    let builder = builder();
    let id = SubmissionId::new(START.after(TEN_YEARS));
    intend(builder.store.url(), id).await;
    builder.make_key_ring();
    let app = builder.start().await;
    app.task_when(&id.to_string(), |task| {
        task["receiver"]["state"] == "submit_unknown"
    })
    .await;
}

/// Records the intent of a submit whose process then ends.
async fn intend(url: &str, submission_id: SubmissionId) {
    let store = Arc::new(Store::open(url).await.unwrap());
    let clock = Clock::manual(submission_id.made_at());
    let pace = Pace {
        first_poll_after: seconds(15),
        interval_min: seconds(3),
        give_up_after: seconds(3600),
    };
    let (recorder, worker) = Recorder::new(Arc::clone(&store), clock, pace, Metrics::new());
    let stop = CancellationToken::new();
    let worker = tokio::spawn(worker.run(stop.clone()));
    let intent = Intent {
        submission_id,
        client: None,
        kind: Kind::Image,
        model: "z-image-turbo".to_owned(),
        reference: None,
        request: Bytes::from_static(b"{}"),
        callback_url: None,
        idempotency: None,
        guard: None,
        limits: KeyLimits::default(),
    };
    let receipt = recorder.record(Entry::Intent(intent)).await;
    assert_eq!(receipt.unwrap(), Receipt::Fresh);
    stop.cancel();
    worker.await.unwrap();
    store.close().await;
}
