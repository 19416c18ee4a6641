//! Many tasks are overdue at once. Each is polled once, no faster than the rate limit allows, and
//! none waits for another's answer.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{BY_POLL, SOME_TICKS, accepting, body, builder, polls, seconds, submitted};
use crate::support::net::raw_server::{End, http};
use crate::support::until::until;

/// Polls that run at once.
const AT_ONCE: u32 = 16;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_restart_all_that_is_overdue_is_asked_about_once_within_the_rate() {
    const TASKS: usize = 300;
    const PER_SECOND: u32 = 100;
    let arrivals: Arc<Mutex<Vec<(Instant, String)>>> = Arc::default();
    let log = Arc::clone(&arrivals);
    let evolink = accepting(End::Open, move |id| {
        log.lock().unwrap().push((Instant::now(), id.to_owned()));
        http(200, &[], &body(id, "processing"))
    })
    .await;
    let url = evolink.url.parse().unwrap();
    let builder = builder().with(|config| {
        config.evolink.base_url = url;
        config.evolink.polls_per_second = PER_SECOND;
    });
    let app = builder.start().await;
    submitted(&app, TASKS).await;
    let (ended, builder) = app.stop().await;
    ended.unwrap();
    assert_eq!(polls(&evolink), 0);
    let app = builder.start().await;
    app.clock.advance(seconds(3600));
    until("all are asked about", || polls(&evolink) >= TASKS).await;
    // The clock stands still, so the 3 s before a second poll never pass.
    sleep(SOME_TICKS).await;
    let arrivals = arrivals.lock().unwrap().clone();
    let asked: HashSet<&String> = arrivals.iter().map(|(_, id)| id).collect();
    assert_eq!((arrivals.len(), asked.len()), (TASKS, TASKS));
    // This machine may run things late. But no more polls can be late than were running, and one
    // more that was about to start.
    for (nth, (from, _)) in arrivals.iter().enumerate() {
        for (later, (to, _)) in arrivals.iter().enumerate().skip(nth) {
            let allowed = f64::from(PER_SECOND) * (*to - *from).as_secs_f64();
            let number = f64::from(u32::try_from(later - nth).unwrap());
            assert!(
                number <= allowed + f64::from(AT_ONCE) + 2.0,
                "{number} in {:?}",
                *to - *from
            );
        }
    }
}

#[tokio::test]
async fn an_answer_that_does_not_come_holds_up_nobody() {
    const STALLED: usize = AT_ONCE as usize - 1;
    let stalls = |id: &str| {
        let number = id.rsplit('-').next().unwrap();
        number.parse::<usize>().unwrap() < STALLED
    };
    let evolink = accepting(End::Open, move |id| {
        if stalls(id) {
            Vec::new()
        } else {
            http(200, &[], &body(id, "completed"))
        }
    })
    .await;
    let url = evolink.url.parse().unwrap();
    let app = builder()
        .with(|config| {
            config.evolink.base_url = url;
            config.evolink.timeout = Duration::from_mins(5);
            config.evolink.polls_per_second = 100;
        })
        .start()
        .await;
    submitted(&app, STALLED).await;
    // These are the longest overdue, so they are polled first.
    app.clock.advance(seconds(1));
    submitted(&app, 40).await;
    app.clock.advance(seconds(15));
    until("the others' outcomes", || app.counter(BY_POLL) == 40).await;
    let seen = "evolink_receiver_polls_total{result=\"failed\"}";
    assert_eq!(app.counter(seen), 0, "the first are waited for still");
    assert_eq!(polls(&evolink), STALLED + 40);
}
