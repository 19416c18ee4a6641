//! The repeat guard: a submit without an idempotency key may repeat one whose answer its app never
//! received. Then it gets the same answer and is not sent.

use std::sync::Arc;
use std::time::Duration;

use evolink_receiver::config::{ApiKey, KeyDigest, Scope};
use evolink_receiver::simulator::{Options, Simulator};
use futures_util::future::join_all;
use serde_json::json;

use crate::internal::calls::{SUBMIT, completed, generation, submission, submit, token_of};
use crate::support::app::answer::{Answer, get, send};
use crate::support::app::{TestApp, TestAppBuilder};
use crate::support::net::raw::RawClient;
use crate::support::until::until;

/// Accepted and charged, but the answer is lost.
const LOST: &str = "[sim:reset,duration=10m,lost-callback]";

/// Accepted and charged at once, but the answer takes a second.
const SLOW: &str = "[sim:stall=1s,duration=10m,lost-callback]";

async fn started() -> (TestApp, Simulator) {
    TestApp::start_with_simulator(Options::default()).await
}

fn is_replayed(answer: &Answer) -> bool {
    answer.header("idempotency-replayed") == Some("true")
}

/// The number of rows of the repeat guard.
async fn rows(app: &TestApp) -> i64 {
    let database = app.database().await;
    let sql = "SELECT count(*) FROM unanswered_submit";
    database.value(sql, &[]).await
}

async fn until_no_row_is_left(app: &TestApp) {
    for _ in 0..500 {
        if rows(app).await == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{} rows are left", rows(app).await);
}

/// Submits as an app that disconnects once EvoLink has charged its submit.
async fn submit_and_disconnect(app: &TestApp, evolink: &Simulator, path: &str, prompt: &str) {
    submit_with_more_and_disconnect(app, evolink, path, prompt, "").await;
}

/// The same, with `more` bytes behind the submit.
async fn submit_with_more_and_disconnect(
    app: &TestApp,
    evolink: &Simulator,
    path: &str,
    prompt: &str,
    more: &str,
) {
    let charges = evolink.stats().charges;
    let body = generation(prompt).to_string();
    let mut client = RawClient::connect_plain(app.internal).await;
    client
        .send(format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}{more}",
            body.len()
        ))
        .await;
    until("EvoLink has the submit", || {
        evolink.stats().charges == charges + 1
    })
    .await;
    drop(client);
}

#[tokio::test]
async fn a_repeat_of_a_submit_of_unknown_outcome_is_not_sent_and_has_its_answer() {
    let (app, evolink) = started().await;
    let first = submit(&app, &generation(LOST)).await;
    let id = first.assert_unknown("the first");
    assert_eq!(first.header("x-should-retry"), Some("false"));
    assert!(!is_replayed(&first));
    // The same request with another spelling, as often as a client library may retry.
    let spelled =
        format!("{{ \"prompt\": \"{LOST}\",\n\"size\":null, \"model\": \"z-image-turbo\" }}");
    for body in [generation(LOST).to_string(), spelled] {
        let repeat = send(submission(&app, body)).await;
        assert_eq!(repeat.assert_unknown("a repeat"), id);
        assert_eq!(repeat.header("x-should-retry"), Some("false"));
        assert!(is_replayed(&repeat), "{repeat:?}");
    }
    assert_eq!((evolink.stats().charges, evolink.stats().submits), (1, 1));
    let series = "evolink_receiver_submits_total{result=\"repeated\"}";
    assert_eq!(app.counter(series), 2);
}

#[tokio::test]
async fn a_repeat_gets_the_task_that_a_callback_told_of_and_what_is_asked_after_that_is_new() {
    let (app, evolink) = started().await;
    let id = submit(&app, &generation(LOST)).await.assert_unknown("lost");
    let task_id = evolink.tasks()[0].id.clone();
    let token = token_of(&app, &id);
    let told = app.callback_result(&token, completed(&task_id)).await;
    assert_eq!(told, "recorded");
    let repeat = submit(&app, &generation(LOST)).await;
    assert_eq!(repeat.status, 200, "{repeat:?}");
    assert!(is_replayed(&repeat));
    assert_eq!(repeat.body["id"], task_id.as_str());
    assert_eq!(repeat.header("x-submission-id"), Some(&*id));
    assert_eq!(evolink.stats().charges, 1);
    // The app has received its answer now.
    until_no_row_is_left(&app).await;
    submit(&app, &generation(LOST)).await.assert_unknown("new");
    assert_eq!(evolink.stats().charges, 2);
}

/// hyper does not see that a connection closes while bytes behind the request wait to be read.
#[tokio::test]
async fn an_app_that_disconnects_is_gone_whatever_it_has_sent_behind_its_submit() {
    let (app, evolink) = started().await;
    let next = "GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n";
    for (what, stall) in [("\r\n", 1), ("G", 1), (next, 1), ("\r\n", 3)] {
        let prompt = format!("{what:?} [sim:stall={stall}s,duration=10m,lost-callback]");
        let charges = evolink.stats().charges;
        submit_with_more_and_disconnect(&app, &evolink, SUBMIT, &prompt, what).await;
        until("the answer came, or the app was found to be gone", || {
            app.apps.waiting_for(Duration::ZERO).is_empty()
        })
        .await;
        let repeat = submit(&app, &generation(&prompt)).await;
        assert_eq!(
            (repeat.status, is_replayed(&repeat)),
            (200, true),
            "{prompt}"
        );
        assert_eq!(evolink.stats().charges, charges + 1, "{prompt}");
    }
}

#[tokio::test]
async fn a_repeat_of_a_submit_whose_app_disconnected_waits_for_its_task() {
    let (app, evolink) = started().await;
    for path in [SUBMIT, "/v1/images/generations?wait=20"] {
        let prompt = format!("{path} {SLOW}");
        let charges = evolink.stats().charges;
        submit_and_disconnect(&app, &evolink, path, &prompt).await;
        let body = generation(&prompt);
        // Two concurrent repeats get the same answer.
        let (one, two) = tokio::join!(submit(&app, &body), submit(&app, &body));
        assert_eq!((one.status, two.status), (200, 200), "{one:?} {two:?}");
        assert!(is_replayed(&one) && is_replayed(&two));
        assert_eq!(one.body["id"], two.body["id"]);
        assert_eq!(evolink.stats().charges, charges + 1, "{path}");
    }
}

#[tokio::test]
async fn an_app_that_disconnects_while_it_waits_for_the_outcome_repeats_a_submit() {
    let (app, evolink) = started().await;
    let prompt = "[sim:duration=10m,lost-callback]";
    submit_and_disconnect(&app, &evolink, "/v1/images/generations?wait=50", prompt).await;
    let repeat = submit(&app, &generation(prompt)).await;
    assert_eq!((repeat.status, is_replayed(&repeat)), (200, true));
    assert_eq!(evolink.stats().charges, 1);
}

#[tokio::test]
async fn equal_submits_whose_apps_wait_are_all_sent_and_so_is_one_after_an_answer() {
    let (app, evolink) = started().await;
    let body = generation(SLOW);
    let answers = join_all((0..4).map(|_| submit(&app, &body))).await;
    for answer in answers {
        assert_eq!((answer.status, is_replayed(&answer)), (200, false));
    }
    assert_eq!(evolink.stats().charges, 4);
    let answer = submit(&app, &body).await;
    assert_eq!((answer.status, is_replayed(&answer)), (200, false));
    assert_eq!(evolink.stats().charges, 5);
    until_no_row_is_left(&app).await;
}

#[tokio::test]
async fn a_submit_that_was_refused_leaves_nothing_that_could_be_repeated() {
    let (app, evolink) = started().await;
    for (prompt, status) in [("[sim:no-quota]", 402), ("[sim:invalid]", 400)] {
        for _ in 0..2 {
            let answer = submit(&app, &generation(prompt)).await;
            assert_eq!((answer.status, is_replayed(&answer)), (status, false));
        }
    }
    assert_eq!(evolink.stats().submits, 4);
    assert_eq!(rows(&app).await, 0);
}

#[tokio::test]
async fn another_request_another_api_key_and_an_idempotency_key_are_no_repeats() {
    let keys = ["one", "two"]
        .map(|name| ApiKey::new(name, KeyDigest::of(name), &[Scope::Submit, Scope::Read]));
    let builder = TestApp::builder().with(|config| config.internal.api_keys = keys.into());
    let (app, evolink) = builder.start_with_simulator(Options::default()).await;
    let of = |client: &str, body: &serde_json::Value| {
        submission(&app, body.to_string()).header("authorization", format!("Bearer {client}"))
    };
    let body = generation(LOST);
    let first = send(of("one", &body)).await.assert_unknown("first");
    let mut other = body.clone();
    other["seed"] = json!(7);
    let key = "a-new-idempotency-key";
    let submits = [
        of("two", &body),
        of("one", &other),
        of("one", &body).header("idempotency-key", key),
    ];
    for (number, request) in (2..).zip(submits) {
        let answer = send(request).await;
        assert_ne!(answer.assert_unknown("no repeat"), first);
        assert!(!is_replayed(&answer));
        assert_eq!(evolink.stats().charges, number);
    }
    let repeat = send(of("one", &body)).await;
    assert_eq!(repeat.assert_unknown("a repeat"), first);
    assert_eq!(evolink.stats().charges, 4);
}

#[tokio::test]
async fn after_the_window_and_without_one_nothing_is_a_repeat() {
    let builder = TestApp::builder().with_manual_clock();
    let (app, evolink) = builder.start_with_simulator(Options::default()).await;
    let first = submit(&app, &generation(LOST)).await.assert_unknown("1");
    app.clock.advance(Duration::from_secs(599));
    let repeat = submit(&app, &generation(LOST)).await;
    assert_eq!(repeat.assert_unknown("in the window"), first);
    app.clock.advance(Duration::from_secs(2));
    let new = submit(&app, &generation(LOST)).await;
    assert_ne!(new.assert_unknown("after the window"), first);
    // Rows stay for an hour more, because other replicas may have slower clocks.
    assert_eq!((evolink.stats().charges, rows(&app).await), (2, 2));
    app.clock.advance(Duration::from_mins(71));
    submit(&app, &generation(LOST)).await.assert_unknown("3");
    assert_eq!((evolink.stats().charges, rows(&app).await), (3, 1));

    let off = TestApp::builder().with(|config| config.submits.repeat_window = Duration::ZERO);
    let (app, evolink) = off.start_with_simulator(Options::default()).await;
    for number in 1..=2 {
        submit(&app, &generation(LOST)).await.assert_unknown("off");
        assert_eq!(evolink.stats().charges, number);
    }
    assert_eq!(rows(&app).await, 0);
}

/// Kills a process once EvoLink has charged its submit: everything on its runtime is dropped.
async fn killed(builder: TestAppBuilder, evolink: &Arc<Simulator>, prompt: &'static str) {
    let (evolink, charges) = (Arc::clone(evolink), evolink.stats().charges);
    let process = tokio::task::spawn_blocking(move || {
        tokio::runtime::Runtime::new().unwrap().block_on(async {
            let app = builder.start().await;
            let body = generation(prompt);
            let has_charged = || evolink.stats().charges == charges + 1;
            tokio::select! {
                answer = app.submit(&body) => panic!("killed before its answer: {answer:?}"),
                () = until("EvoLink has the submit", has_charged) => {}
            }
        });
    });
    process.await.unwrap();
}

#[tokio::test]
async fn after_a_kill_between_evolinks_acceptance_and_our_answer_a_repeat_is_not_sent() {
    let (app, evolink) = started().await;
    let evolink = Arc::new(evolink);
    let (_, builder) = app.stop().await;
    let prompt = "[sim:stall=10m,duration=10m,lost-callback]";
    killed(builder.clone(), &evolink, prompt).await;
    let app = builder.start().await;
    let repeat = submit(&app, &generation(prompt)).await;
    let id = repeat.assert_unknown("after the kill");
    assert!(is_replayed(&repeat));
    let task_id = evolink.tasks()[0].id.clone();
    app.callback_result(&token_of(&app, &id), completed(&task_id))
        .await;
    let repeat = submit(&app, &generation(prompt)).await;
    assert_eq!((repeat.status, &repeat.body["id"]), (200, &json!(task_id)));
    assert_eq!(get(&app, &format!("/v1/tasks/{id}")).await.status, 200);
    assert_eq!(evolink.stats().charges, 1);
}
