//! Each refused request on the public listener is counted by its reason, so that an operator sees
//! why callbacks do not arrive. The sender sees the same answers as ever.

use std::collections::BTreeMap;
use std::time::Duration;

use evolink_receiver::domain::callback::{KeyRing, Subject};
use evolink_receiver::domain::ids::SubmissionId;
use evolink_receiver::observe::metrics::CallbackRefusal;
use strum::VariantArray as _;

use crate::support::app::callback_body::completed;
use crate::support::app::desk::Desk;
use crate::support::app::{START as NOW, TestApp};
use crate::support::store::database::Refused;

/// The number of refusals by reason.
fn refusals(app: &TestApp) -> BTreeMap<&'static str, u64> {
    let reasons = CallbackRefusal::VARIANTS.iter().copied();
    let reasons = reasons.map(|reason| reason.into_str());
    let count = |reason: &&'static str| {
        let name = "evolink_receiver_callbacks_refused_total";
        app.counter(&format!("{name}{{reason=\"{reason}\"}}"))
    };
    reasons.map(|reason| (reason, count(&reason))).collect()
}

/// Sends a request, and closes the sending side. Returns the status of the answer.
async fn send(app: &TestApp, request: &str) -> u16 {
    let mut client = app.raw_public().await;
    client.send_if_open(request).await;
    client.finish_sending().await;
    client.read_response().await.status
}

fn post(path: &str, headers: &str, body: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: a\r\n{headers}\r\n{body}")
}

#[tokio::test]
async fn each_refused_request_is_counted_by_its_reason_and_by_no_other() {
    let desk = Desk::open().await;
    let submit = desk.bound().await;
    let good = &submit.token;
    let old = SubmissionId::new(NOW.before(Duration::from_hours(90 * 24)));
    let old = desk.app.token(&Subject::Submission(old));
    let foreign = KeyRing::parse(&format!("nokey {}", "ab".repeat(32))).unwrap();
    let foreign = foreign.mint(&Subject::Standing("shop".parse().unwrap()));
    let empty = "Content-Length: 0\r\n";
    let to = |token: &str, headers: &str, body: &str| {
        post(&format!("/callbacks/{token}"), headers, body)
    };
    let get = format!("GET /callbacks/{good} HTTP/1.1\r\nHost: a\r\n\r\n");
    for (reason, status, request) in [
        ("wrong_path", 404, post("/hooks/callbacks/x", empty, "")),
        ("wrong_method", 405, get),
        ("no_token", 404, to("nobody", empty, "")),
        ("unknown_key", 404, to(&foreign, empty, "")),
        ("bad_mac", 404, to(&format!("{good}A"), empty, "")),
        ("expired", 404, to(&old, empty, "")),
        (
            "encoded",
            415,
            to(good, "Content-Length: 0\r\nContent-Encoding: gzip\r\n", ""),
        ),
        (
            "too_large",
            413,
            to(good, "Content-Length: 3000000\r\n", ""),
        ),
        ("cut_off", 400, to(good, "Content-Length: 10\r\n", "{")),
    ] {
        let mut expected = refusals(&desk.app);
        *expected.get_mut(reason).unwrap() += 1;
        assert_eq!(send(&desk.app, &request).await, status, "{reason}");
        assert_eq!(refusals(&desk.app), expected, "{reason}");
    }
    let intruder = desk.intruder().await;
    intruder.refuse(Refused::Events, "ABORT").await;
    let (status, _) = desk.app.callback(good, completed(&submit.task_id)).await;
    intruder.stop_refusing().await;
    assert_eq!((status, refusals(&desk.app)["not_recorded"]), (503, 1));
    let before = refusals(&desk.app);
    desk.assert_well("refusals").await;
    assert_eq!(refusals(&desk.app), before, "a good callback is none");
}

#[tokio::test]
async fn a_body_that_never_ends_is_counted_as_too_slow() {
    let desk =
        Desk::open_with(|config| config.public.body_timeout = Duration::from_millis(300)).await;
    let submit = desk.bound().await;
    let mut client = desk.app.raw_public().await;
    let path = format!("/callbacks/{}", submit.token);
    client
        .send(post(&path, "Content-Length: 10\r\n", "{"))
        .await;
    assert_eq!(client.read_response().await.status, 408);
    assert_eq!(refusals(&desk.app)["too_slow"], 1);
}

#[tokio::test]
async fn the_time_of_the_last_callback_is_shown_and_no_guess_changes_it() {
    const SERIES: &str = "evolink_receiver_last_callback_timestamp_seconds{}";
    let desk = Desk::open().await;
    let submit = desk.bound().await;
    assert_eq!(desk.app.callback("nobody", "").await.0, 404);
    assert_eq!(desk.app.counter(SERIES), 0, "none yet");
    let result = desk
        .app
        .callback_result(&submit.token, completed(&submit.task_id));
    assert_eq!(result.await, "recorded");
    let now = u64::try_from(desk.app.clock.wall_now().as_seconds()).unwrap();
    assert_eq!(desk.app.counter(SERIES), now);
}
