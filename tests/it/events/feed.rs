//! The log page by page: what a page contains, where the next one begins, and which requests are
//! refused.

use http::Method;
use serde_json::Value;

use super::{log, post, seqs};
use crate::support::app::TestApp;
use crate::support::app::answer::{Answer, get, send};
use crate::support::events::seen::{Seen, seq};

#[tokio::test]
async fn pages_follow_each_other_without_gap_or_repeat() {
    let app = TestApp::start().await;
    let empty = get(&app, "/v1/events").await.body;
    assert_eq!((seqs(&empty), seq(&empty["next"])), (vec![], 0));
    post(&app, 0..7, "processing").await;
    post(&app, 0..7, "completed").await;
    let logged = log(&app).await;
    assert_eq!(logged.len(), 14);
    let (mut seen, mut after) = (Vec::new(), "0".to_owned());
    loop {
        let page = get(&app, &format!("/v1/events?limit=4&after={after}")).await;
        seen.extend(Seen::all(&page.body["data"]));
        if page.body["next"] == after {
            break;
        }
        page.body["next"].as_str().unwrap().clone_into(&mut after);
    }
    assert_eq!(seen, logged);
    let whole = get(&app, "/v1/events").await;
    assert_eq!(Seen::all(&whole.body["data"]), logged, "from the oldest on");
    app.stop().await.0.unwrap();
}

#[tokio::test]
async fn an_event_shows_the_task_as_it_was() {
    let app = TestApp::start().await;
    post(&app, 0..1, "processing").await;
    post(&app, 0..1, "completed").await;
    let page = get(&app, "/v1/events").await.body;
    let [first, second] = [0, 1].map(|at| &page["data"][at]);
    let names: Vec<&str> = first
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    let wanted = [
        "id",
        "seq",
        "type",
        "at",
        "submission_id",
        "task_id",
        "source",
        "task",
    ];
    assert_eq!(names, wanted);
    assert_eq!(first["type"], "task.processing");
    assert_eq!(first["source"], "callback");
    assert_eq!(first["task_id"], "task-0");
    assert_eq!(first["task"]["status"], "processing");
    assert_eq!(first["task"]["receiver"]["state"], "processing");
    assert_eq!(
        first["submission_id"],
        first["task"]["receiver"]["submission_id"]
    );
    assert_eq!(second["task"]["status"], "completed");
    assert_eq!(second["task"]["receiver"]["outcome_at"], second["at"]);
    let history = get(&app, "/v1/tasks/task-0/events").await.body;
    let of_history: Vec<&Value> = history["data"].as_array().unwrap().iter().collect();
    let told = of_history.iter().find(|item| item["seq"] == 1).unwrap();
    assert_eq!(told["task"], first["task"], "as in the history of the task");
    assert_eq!(told["id"], first["id"]);
    app.stop().await.0.unwrap();
}

#[tokio::test]
async fn filters_let_through_what_they_name() {
    let app = TestApp::start().await;
    post(&app, 0..5, "processing").await;
    post(&app, 2..4, "failed").await;
    let of = async |query: &str| get(&app, &format!("/v1/events?{query}")).await;
    let failed = of("types=task.failed,task.cancelled").await.body;
    assert_eq!(seqs(&failed), [6, 7]);
    assert_eq!(seq(&failed["next"]), 7);
    let none = of("types=task.cancelled&after=3").await.body;
    assert_eq!(
        (seqs(&none), seq(&none["next"])),
        (vec![], 7),
        "nothing, up to there"
    );
    assert_eq!(seqs(&of("task=task-3").await.body), [4, 7]);
    assert_eq!(seqs(&of("task=task-3&types=task.failed").await.body), [7]);
    assert_eq!(seqs(&of("task=task-3&after=4").await.body), [7]);
    let first = of("task=task-3&limit=1").await.body;
    assert_eq!((seqs(&first), seq(&first["next"])), (vec![4], 4));
    let id = first["data"][0]["submission_id"].as_str().unwrap();
    assert_eq!(seqs(&of(&format!("task={id}")).await.body), [4, 7]);
    app.stop().await.0.unwrap();
}

#[tokio::test]
async fn a_page_says_whether_the_reader_has_caught_up() {
    let app = TestApp::start().await;
    let of = async |query: &str| {
        let page = get(&app, &format!("/v1/events?{query}")).await.body;
        (seq(&page["next"]), page["caught_up"].clone())
    };
    assert_eq!(of("").await, (0, true.into()), "an empty log");
    post(&app, 0..5, "processing").await;
    assert_eq!(of("limit=2").await, (2, false.into()));
    assert_eq!(of("limit=2&after=2").await, (4, false.into()));
    assert_eq!(of("limit=2&after=4").await, (5, true.into()));
    assert_eq!(of("limit=2&after=3").await, (5, true.into()), "a full page");
    assert_eq!(of("types=task.failed").await, (5, true.into()));
    post(&app, 3..4, "failed").await;
    assert_eq!(of("task=task-3&limit=1").await, (4, false.into()));
    assert_eq!(of("task=task-3&limit=1&after=4").await, (6, true.into()));
    app.stop().await.0.unwrap();
}

/// Parameters that are not understood are refused by name (rule B13). No answer leaves out events
/// silently.
#[tokio::test]
async fn what_cannot_be_meant_is_refused() {
    let app = TestApp::start().await;
    post(&app, 0..9, "processing").await;
    let ask = async |query: &str, id: Option<&str>, accept: &str| -> Answer {
        let mut request = app.request(Method::GET, &format!("/v1/events?{query}"));
        if let Some(id) = id {
            request = request.header("last-event-id", id);
        }
        send(request.header("accept", accept)).await
    };
    for accept in ["application/json", "text/event-stream"] {
        let refused = [
            ("after=-1", None, "after"),
            ("after=x", None, "after"),
            ("after=", None, "after"),
            ("after=10", None, "after"),
            ("after=9223372036854775807", None, "after"),
            ("after=92233720368547758070", None, "after"),
            ("", Some("x"), "Last-Event-ID"),
            ("", Some("-1"), "Last-Event-ID"),
            ("after=1", Some("10"), "Last-Event-ID"),
            ("types=", None, "types"),
            ("types=task.done", None, "types"),
            ("types=task.failed;task.completed", None, "types"),
            ("limit=0", None, "limit"),
            ("limit=-1", None, "limit"),
            ("task=%00", None, "task"),
            ("task=", None, "task"),
            ("type=task.failed", None, "type"),
            ("since=1", None, "since"),
        ];
        for (query, id, param) in refused {
            let answer = ask(query, id, accept).await;
            let why = format!("{query} {id:?} {accept}");
            answer.assert_error(400, "invalid_request", Some(param), &why);
        }
        let unknown = ask("task=task-unknown", None, accept).await;
        unknown.assert_error(404, "task_not_found", None, accept);
        let answer = ask("after=9", Some("9"), "application/json").await;
        assert_eq!((answer.status, seqs(&answer.body)), (200, vec![]));
    }
    app.database()
        .await
        .execute("DELETE FROM event WHERE seq <= 4")
        .await;
    for accept in ["application/json", "text/event-stream"] {
        for after in 0..4 {
            let answer = ask(&format!("after={after}"), None, accept).await;
            answer.assert_error(410, "cursor_expired", Some("after"), accept);
        }
        let answer = ask("after=8", Some("2"), accept).await;
        answer.assert_error(410, "cursor_expired", Some("Last-Event-ID"), accept);
    }
    assert_eq!(
        seqs(&get(&app, "/v1/events?after=4").await.body),
        [5, 6, 7, 8, 9]
    );
    assert_eq!(seqs(&get(&app, "/v1/events").await.body), [5, 6, 7, 8, 9]);
    app.stop().await.0.unwrap();
}

#[tokio::test]
async fn a_page_of_the_largest_bodies_is_short_and_goes_on() {
    let app = TestApp::start().await;
    let token = app.standing_token("shop");
    for number in 0..30 {
        let body = format!(
            r#"{{"id":"task-{number}","status":"processing","x":"{}"}}"#,
            "x".repeat(200_000)
        );
        assert_eq!(app.callback_result(&token, body).await, "recorded");
    }
    let (mut seen, mut after, mut pages) = (Vec::new(), 0, 0);
    while after < 30 {
        let page = get(&app, &format!("/v1/events?limit=200&after={after}")).await;
        assert!(page.text.len() < 3 * 1024 * 1024, "{}", page.text.len());
        seen.extend(seqs(&page.body));
        after = seq(&page.body["next"]);
        pages += 1;
    }
    assert_eq!(seen, (1..=30).collect::<Vec<_>>());
    assert!(pages > 1);
    app.stop().await.0.unwrap();
}
