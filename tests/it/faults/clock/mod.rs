//! The machine's clock jumps by ten years, forward and back, while the receiver runs and between
//! two runs (I47). Nothing is lost or duplicated, no task is polled too soon, and none is given up
//! or forgotten.

mod story;

use std::time::Duration;

use evolink_receiver::domain::timestamp::Timestamp;
use tokio::time::Instant;

use self::story::Story;
use crate::support::campaign::rounds;
use crate::support::machine::faketime::now;
use crate::support::process::Receiver;
use crate::support::store::check;
use crate::support::until::PATIENCE;

/// Offsets of the receiver's clock from the true time. The simulator has the true time.
const OFFSETS: [&str; 3] = ["+10y", "-10y", "+0"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_years_forward_and_back_lose_double_and_delay_nothing() {
    let Some(mut story) = Story::begin().await else {
        return;
    };
    let rounds = rounds(1, 10);
    let mut longest = Duration::ZERO;
    for _ in 0..rounds {
        // Planned polls and ids from all three times are in one store.
        for started_at in ["+0", "+10y", "-10y"] {
            story.live(started_at).await;
        }
        let offset = OFFSETS[story.random.usize(..3)];
        story.set_clock(offset);
        let mut receiver = story.place.start().await;
        longest = longest.max(story.all_ended(&receiver).await);
        receiver.kill();
        story.kills.push(now());
        let faults = check::faults(story.place.store(), &story.load.acknowledged()).await;
        assert!(faults.is_empty(), "{faults:#?}");
        story.assert_polls_are_apart();
        let charges = story.simulator.stats().charges;
        assert_eq!(
            charges,
            story.submitted.len() as u64,
            "each submit was charged once"
        );
    }
    println!(
        "{rounds} rounds, {} jumps, {} tasks, {} callbacks acknowledged, {} polls; the last task ended {longest:?} after the last start",
        rounds * 13,
        story.submitted.len(),
        story.load.acknowledged().len(),
        story.simulator.stats().polls,
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_jump_is_told_once_and_shown_and_no_time_jumps_with_it() {
    let Some(mut story) = Story::begin().await else {
        return;
    };
    story.set_clock("+0");
    let receiver = story.place.start().await;
    let began = Timestamp::from_millis(now().as_millisecond());
    assert_eq!(difference(&receiver).await, 0);
    story.set_clock("+10y");
    let deadline = Instant::now() + PATIENCE;
    while difference(&receiver).await < 9 * 365 * 24 * 3600 {
        assert!(Instant::now() < deadline, "the jump was not noticed");
        // The receiver notices a jump only when something reads the clock.
        assert!(
            receiver
                .callback(r#"{"id":"t","status":"pending"}"#.to_owned())
                .await
                .is_some()
        );
    }
    story.submit_some(&receiver).await;
    let (_, page) = receiver.get("/v1/tasks").await.unwrap();
    for task in page["data"].as_array().unwrap() {
        let at: jiff::Timestamp = task["receiver"]["submitted_at"]
            .as_str()
            .unwrap()
            .parse()
            .unwrap();
        let since = Timestamp::from_millis(at.as_millisecond()).since(began);
        assert!(
            since < PATIENCE * 2,
            "submitted {since:?} after the beginning: {task}"
        );
    }
    let told = receiver.log().matches("the system's clock was set").count();
    assert_eq!(told, 1, "{}", receiver.log());
}

async fn difference(receiver: &Receiver) -> i64 {
    let url = format!("http://{}/metrics", receiver.internal());
    let text = receiver
        .http
        .get(url)
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    let mut lines = text.lines();
    let value =
        lines.find_map(|line| line.strip_prefix("evolink_receiver_clock_difference_seconds "));
    value.unwrap().parse().unwrap()
}
