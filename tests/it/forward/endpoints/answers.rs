//! An answer affects its delivery alone: each delivery keeps its own schedule, whatever the
//! endpoint answers to others. Only an endpoint that does not answer, or that asks for a delay,
//! gets fewer attempts.

use std::ops::Range;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use tokio::time::sleep;

use crate::forward::receiver::builder;
use crate::support::app::TestApp;
use crate::support::deliveries::app::outcome;
use crate::support::deliveries::endpoint::{Behaviour, Endpoint, Received, answer};
use crate::support::store::database::Database;

const SECOND: Duration = Duration::from_secs(1);

/// The longest time before the second attempt.
const LONGEST_FIRST_GAP: Duration = Duration::from_secs(2);

/// Several scans: time enough for an unwanted attempt to happen.
const SOME_SCANS: Duration = Duration::from_millis(2500);

const NEVER_TRIED: &str = "attempts = 0";

/// Uses a manual clock, so that only the schedule decides what is sent.
async fn start(endpoint: &Endpoint) -> (TestApp, Database) {
    let builder = builder(&[("billing", &endpoint.url())]).with_manual_clock();
    let app = builder.start().await;
    let database = app.database().await;
    (app, database)
}

/// Sends the callbacks of the tasks `numbers` and waits until they are recorded.
async fn outcomes(app: &TestApp, numbers: Range<usize>) {
    let all = stream::iter(numbers).for_each_concurrent(16, async |number| {
        outcome(app, number).await;
    });
    all.await;
}

async fn count(database: &Database, what: &str) -> i64 {
    let sql = format!("SELECT count(*) FROM delivery WHERE {what}");
    database.value(&sql, &[]).await
}

/// Waits until SQL counts `wanted` deliveries.
async fn counted(database: &Database, what: &str, wanted: i64) {
    let mut found = -1;
    for _ in 0..1200 {
        found = count(database, what).await;
        if found == wanted {
            return;
        }
        sleep(Duration::from_millis(50)).await;
    }
    let sql = "SELECT state || ', ' || attempts || ' attempts, due at ' || due_at FROM delivery GROUP BY 1 LIMIT 5";
    let some: Vec<String> = database.values(sql, &[]).await;
    panic!("{found} deliveries are {what}, not {wanted}; there are {some:?}");
}

#[tokio::test]
async fn each_of_120_deliveries_that_got_a_500_first_is_delivered_by_its_second_attempt() {
    let first_fails = |_: &Received, attempt: usize| if attempt == 1 { 500 } else { 200 };
    let endpoint = Endpoint::start(Behaviour::By(first_fails)).await;
    let (app, database) = start(&endpoint).await;
    outcomes(&app, 0..120).await;
    // A gap is drawn from 0 on: one under a millisecond is over at once.
    counted(&database, "attempts > 0", 120).await;
    app.clock.advance(LONGEST_FIRST_GAP);
    counted(&database, "attempts = 2 AND state = 'delivered'", 120).await;
    assert_eq!(endpoint.count(), 240);
}

#[tokio::test]
async fn deliveries_that_always_get_a_500_do_not_hold_up_the_others() {
    // The endpoint cannot process every second event.
    let some_fail = |one: &Received, _: usize| {
        if number_of(one).is_multiple_of(2) {
            500
        } else {
            200
        }
    };
    let endpoint = Endpoint::start(Behaviour::By(some_fail)).await;
    let (app, database) = start(&endpoint).await;
    for round in 1..=4 {
        outcomes(&app, 100 * round..100 * round + 30).await;
        let made = 30 * i64::try_from(round).unwrap();
        // Each good delivery succeeds at its first attempt, although bad ones are retried
        // meanwhile.
        counted(&database, NEVER_TRIED, 0).await;
        counted(&database, "state = 'delivered' AND attempts = 1", made / 2).await;
        assert_eq!(count(&database, "state = 'delivered'").await, made / 2);
        app.clock.advance(LONGEST_FIRST_GAP);
    }
    assert_eq!(count(&database, "state = 'dead'").await, 0);
}

/// The number that `outcome` had for the task.
fn number_of(received: &Received) -> usize {
    let body = received.json();
    let (_, number) = body["id"].as_str().unwrap().rsplit_once('-').unwrap();
    number.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_answers_500_to_a_third_keeps_up_with_50_outcomes_a_second() {
    // Six in a row of every twenty fail, and other ones at the next attempt.
    let many_fail = |one: &Received, attempt: usize| {
        if (number_of(one) + 6 * (attempt - 1)) % 20 < 6 {
            500
        } else {
            200
        }
    };
    let endpoint = Endpoint::start(Behaviour::By(many_fail)).await;
    let (app, database) = start(&endpoint).await;
    let mut backlog = 0;
    for second in 0..6 {
        outcomes(&app, 50 * second..50 * second + 50).await;
        // No outcome of this second waits for the next second.
        counted(&database, NEVER_TRIED, 0).await;
        backlog = backlog.max(count(&database, "state = 'pending'").await);
        app.clock.advance(SECOND);
    }
    // At most a third of two seconds' deliveries, because the longest first gap is two seconds.
    assert!(backlog <= 50, "{backlog}");
    app.clock.advance(LONGEST_FIRST_GAP);
    counted(&database, "state = 'delivered'", 300).await;
    assert_eq!(count(&database, "attempts > 2").await, 0);
}

#[tokio::test]
async fn an_endpoint_that_asks_for_a_delay_gets_nothing_until_it_is_over() {
    for status in [429, 503] {
        let endpoint = Endpoint::start(answer(status, "retry-after: 30\n")).await;
        let (app, database) = start(&endpoint).await;
        outcome(&app, 1).await;
        counted(&database, "attempts = 1", 1).await;
        endpoint.behave(answer(200, ""));
        for number in 2..=4 {
            outcome(&app, number).await;
        }
        app.clock.advance(Duration::from_secs(29));
        sleep(SOME_SCANS).await;
        assert_eq!(endpoint.count(), 1, "{status}");
        app.clock.advance(SECOND);
        counted(&database, "state = 'delivered'", 4).await;
    }
}

#[tokio::test]
async fn deliveries_that_an_endpoint_does_not_answer_do_not_hold_up_newer_ones() {
    // It closes the connection without an answer to the 40 oldest, which makes it look unavailable.
    let oldest_break = |one: &Received, _: usize| if number_of(one) < 40 { 0 } else { 200 };
    let endpoint = Endpoint::start(Behaviour::By(oldest_break)).await;
    let (app, database) = start(&endpoint).await;
    outcomes(&app, 0..80).await;
    // One probe in 30 s, the longest overdue first, would take 15 minutes.
    for _ in 0..120 {
        if count(&database, "state = 'delivered'").await == 40 {
            return;
        }
        app.clock.advance(SECOND);
        sleep(Duration::from_millis(100)).await;
    }
    let delivered = count(&database, "state = 'delivered'").await;
    panic!("{delivered} of 40 are delivered");
}
