//! `callbacks.confirm`: a callback's outcome that is doubted ends nothing before EvoLink itself has said the same, and a
//! forged one does nothing at all.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use evolink_receiver::domain::callback_token::Subject;
use evolink_receiver::domain::confirmation::Confirm;
use evolink_receiver::domain::ids::SubmissionId;
use evolink_receiver::simulator::Options;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{body, completed, completed_with};
use crate::support::app::{START, TestApp};
use crate::support::raw_server::{End, RawServer, http};
use crate::support::until::until;

/// Two looks of the reconciler and some: enough for what must not happen to happen.
const SOME_TICKS: Duration = Duration::from_millis(1300);

/// Longer than any gap between two polls of these stories, but for those that are refused.
const NEXT_POLL: Duration = Duration::from_secs(3);

/// How a callback comes about, each about a task of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// After EvoLink has accepted the submit, as documented.
    Plain,
    AfterAnUnknownSubmit,
    AfterARefusal,
    RecordGone,
    ByStandingUrl,
    OtherHost,
    OtherShape,
}

const KINDS: [Kind; 7] = [
    Kind::Plain,
    Kind::AfterAnUnknownSubmit,
    Kind::AfterARefusal,
    Kind::RecordGone,
    Kind::ByStandingUrl,
    Kind::OtherHost,
    Kind::OtherShape,
];

/// What EvoLink answers when it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Says {
    Completed,
    Failed,
    Processing,
    Gone,
    Nothing,
}

/// EvoLink, which says one thing about every task, and can change its mind.
struct Oracle {
    server: RawServer,
    says: Arc<AtomicUsize>,
}

const SAYINGS: [Says; 5] = [
    Says::Completed,
    Says::Failed,
    Says::Processing,
    Says::Gone,
    Says::Nothing,
];

impl Oracle {
    async fn start(says: Says) -> Self {
        let shared = Arc::new(AtomicUsize::new(0));
        let saying = Arc::clone(&shared);
        let answer = move |request: &str| answer(request, SAYINGS[saying.load(Ordering::Relaxed)]);
        let server = RawServer::start_answering(answer, End::Close).await;
        let oracle = Self {
            server,
            says: shared,
        };
        oracle.now_says(says);
        oracle
    }

    fn now_says(&self, says: Says) {
        let place = SAYINGS.iter().position(|saying| *saying == says).unwrap();
        self.says.store(place, Ordering::Relaxed);
    }

    /// How often it was asked about task `id`.
    fn polls(&self, id: &str) -> usize {
        let line = format!("GET /v1/tasks/{id} ");
        let requests = self.server.requests();
        let polls = requests.iter().filter(|request| request.starts_with(&line));
        polls.count()
    }

    async fn receiver(&self, confirm: Confirm) -> TestApp {
        let url = self.server.url.parse().unwrap();
        let builder = TestApp::builder().with_manual_clock().with(|config| {
            config.evolink.base_url = url;
            config.callbacks.confirm = confirm;
        });
        builder.start().await
    }
}

/// A submit is answered as its prompt says, and accepted under an id that has the prompt in it.
fn answer(request: &str, says: Says) -> Vec<u8> {
    if let Some(rest) = request.strip_prefix("GET /v1/tasks/") {
        let id = rest.split_whitespace().next().unwrap();
        return match says {
            Says::Completed => http(200, &[], &completed(id)),
            Says::Failed => http(200, &[], &body(id, "failed", &json!({}))),
            Says::Processing => http(200, &[], &body(id, "processing", &json!({}))),
            Says::Gone => http(404, &[], "{}"),
            Says::Nothing => http(500, &[], ""),
        };
    }
    let prompt = |kind: Kind| request.contains(&format!("\"{kind:?}\""));
    let accepted = KINDS.into_iter().find(|kind| prompt(*kind));
    match accepted {
        Some(Kind::AfterAnUnknownSubmit) => http(502, &[], ""),
        Some(Kind::AfterARefusal) => http(402, &[], "{}"),
        Some(kind) => http(200, &[], &body(&id_of(kind), "pending", &json!({}))),
        None => http(500, &[], ""),
    }
}

fn id_of(kind: Kind) -> String {
    format!("task-unified-1757165031-{kind:?}")
}

/// The token of a URL that EvoLink calls for a task of this kind.
async fn token(app: &TestApp, kind: Kind) -> String {
    let submission_id = match kind {
        Kind::ByStandingUrl => return app.standing_token("reports"),
        Kind::RecordGone => SubmissionId::new(START).to_string(),
        Kind::Plain | Kind::OtherHost | Kind::OtherShape => {
            let task = app.submitted(&format!("{kind:?}")).await;
            task["receiver"]["submission_id"].as_str().unwrap().into()
        }
        Kind::AfterAnUnknownSubmit | Kind::AfterARefusal => {
            let prompt = format!("{kind:?}");
            app.submit(&json!({"model": "z-image-turbo", "prompt": prompt}))
                .await;
            let state = if kind == Kind::AfterARefusal {
                "rejected"
            } else {
                "submit_unknown"
            };
            let (_, page) = app.get(&format!("/v1/tasks?status={state}")).await;
            let receiver = &page["data"][0]["receiver"];
            receiver["submission_id"].as_str().unwrap().to_owned()
        }
    };
    app.token(&Subject::Submission(submission_id.parse().unwrap()))
}

fn callback(kind: Kind) -> String {
    let id = id_of(kind);
    match kind {
        Kind::OtherHost => completed_with(&id, &json!(["https://files.evolink.ai.evil.example/a"])),
        Kind::OtherShape => {
            json!({"data": serde_json::from_str::<Value>(&completed(&id)).unwrap()}).to_string()
        }
        _ => completed(&id),
    }
}

fn reason(kind: Kind, confirm: Confirm) -> Option<&'static str> {
    match (confirm, kind) {
        (Confirm::Never, _) | (Confirm::Suspicious, Kind::Plain) => None,
        (Confirm::Always, Kind::Plain) => Some("always"),
        (_, Kind::OtherHost) => Some("unlisted_host"),
        (_, Kind::OtherShape) => Some("unknown_shape"),
        (_, _) => Some("late_id"),
    }
}

fn doubted(app: &TestApp, reason: &str) -> u64 {
    let series = format!("evolink_receiver_outcomes_doubted_total{{reason=\"{reason}\"}}");
    app.counter(&series)
}

async fn receiver_member(app: &TestApp, id: &str) -> Value {
    app.get(&format!("/v1/tasks/{id}")).await.1["receiver"].clone()
}

/// Waits for the poll, and gives state, source and claim of the task after it was recorded.
async fn after_poll(app: &TestApp, oracle: &Oracle, id: &str, number: usize) -> [Value; 3] {
    until("the poll", || oracle.polls(id) == number).await;
    let database = app.database().await;
    let sql = "SELECT polls FROM task WHERE task_id = $1";
    let bind = [crate::support::database::Bind::Text(id)];
    while database.value::<i64>(sql, &bind).await < i64::try_from(number).unwrap() {
        sleep(Duration::from_millis(10)).await;
    }
    database.close().await;
    let receiver = receiver_member(app, id).await;
    ["state", "source", "unconfirmed"].map(|key| receiver[key].clone())
}

/// One row of the table: sends the callback, and looks at what is doubted.
async fn tell(app: &TestApp, kind: Kind, confirm: Confirm) {
    let row = format!("{} {kind:?}", confirm.as_str());
    let (id, token) = (id_of(kind), token(app, kind).await);
    let reason = reason(kind, confirm);
    let before = reason.map(|reason| doubted(app, reason));
    let result = app.callback_result(&token, callback(kind)).await;
    assert_eq!(result, "recorded", "{row}");
    let after = reason.map(|reason| doubted(app, reason));
    assert_eq!(after, before.map(|before| before + 1), "{row}");
    if reason.is_none() {
        let receiver = receiver_member(app, &id).await;
        let state_and_source = (&receiver["state"], &receiver["source"]);
        assert_eq!(
            state_and_source,
            (&json!("completed"), &json!("callback")),
            "{row}"
        );
        assert!(receiver.get("unconfirmed").is_none(), "{row}");
    }
}

/// What EvoLink's first answer makes of it.
async fn check_answer(app: &TestApp, oracle: &Oracle, kind: Kind, says: Says) {
    let first = after_poll(app, oracle, &id_of(kind), 1).await;
    let expected = match says {
        Says::Completed => [json!("completed"), json!("poll"), Value::Null],
        Says::Failed => [json!("failed"), json!("poll"), Value::Null],
        Says::Processing => [json!("processing"), json!("poll"), json!("completed")],
        Says::Gone | Says::Nothing => [json!("pending"), first[1].clone(), json!("completed")],
    };
    assert_eq!(first, expected, "{kind:?} {says:?}");
}

async fn check_all(confirm: Confirm, says: Says) {
    let oracle = Oracle::start(says).await;
    let app = oracle.receiver(confirm).await;
    for kind in KINDS {
        tell(&app, kind, confirm).await;
    }
    let doubted: Vec<Kind> = KINDS
        .into_iter()
        .filter(|kind| reason(*kind, confirm).is_some())
        .collect();
    for kind in &doubted {
        check_answer(&app, &oracle, *kind, says).await;
    }
    // What was not doubted is not asked about, and what EvoLink has ended is not asked about again.
    sleep(SOME_TICKS).await;
    for kind in KINDS {
        let asked = usize::from(doubted.contains(&kind));
        assert_eq!(
            oracle.polls(&id_of(kind)),
            asked,
            "{confirm:?} {kind:?} {says:?}"
        );
    }
    check_end(&app, &oracle, &doubted, says).await;
    app.assert_counters_balance();
}

/// A forged callback does nothing, and what EvoLink says at last counts.
async fn check_end(app: &TestApp, oracle: &Oracle, doubted: &[Kind], says: Says) {
    match says {
        Says::Completed | Says::Failed => {}
        Says::Processing | Says::Nothing => {
            oracle.now_says(Says::Failed);
            app.clock.advance(NEXT_POLL);
            for kind in doubted {
                let ended = after_poll(app, oracle, &id_of(*kind), 2).await;
                assert_eq!(
                    ended,
                    [json!("failed"), json!("poll"), Value::Null],
                    "{kind:?}"
                );
            }
        }
        Says::Gone => {
            for number in [2, 3] {
                app.clock.advance(NEXT_POLL * 2);
                for kind in doubted {
                    after_poll(app, oracle, &id_of(*kind), number).await;
                }
            }
            for kind in doubted {
                let receiver = receiver_member(app, &id_of(*kind)).await;
                assert_eq!(receiver["state"], "unresolved", "{kind:?}");
                assert_claim_is_in_history(app, &id_of(*kind)).await;
            }
        }
    }
}

async fn assert_claim_is_in_history(app: &TestApp, id: &str) {
    let history = app.get(&format!("/v1/tasks/{id}/events")).await.1;
    let items = history["data"].as_array().unwrap();
    let claims = items.iter().filter(|item| {
        item["type"] == "observation"
            && item["source"] == "callback"
            && item["result"] == "recorded"
    });
    assert_eq!(claims.count(), 1, "{history}");
    let announced = items
        .iter()
        .any(|item| item["task"]["status"] == "completed");
    assert!(
        !announced,
        "an event shows what EvoLink never said: {history}"
    );
}

#[tokio::test]
async fn never_believes_every_callback() {
    check_all(Confirm::Never, Says::Failed).await;
}

#[tokio::test]
async fn what_evolink_says_about_a_suspicious_outcome_counts() {
    for says in SAYINGS {
        check_all(Confirm::Suspicious, says).await;
    }
}

#[tokio::test]
async fn what_evolink_says_about_any_outcome_counts_under_always() {
    for says in SAYINGS {
        check_all(Confirm::Always, says).await;
    }
}

#[tokio::test]
async fn a_forged_early_callback_ends_nothing_and_the_true_outcome_does() {
    for confirm in [Confirm::Suspicious, Confirm::Always] {
        let (app, simulator) = TestApp::builder()
            .with(|config| {
                config.callbacks.confirm = confirm;
                config.reconcile.interval_min = Duration::from_secs(1);
            })
            .start_with_simulator(Options::default())
            .await;
        let request =
            json!({"model": "z-image-turbo", "prompt": "[sim:bad-gateway,lost-callback]"});
        let (status, _) = app.submit(&request).await;
        assert_eq!(status, 504);
        let task = simulator.tasks().pop().unwrap();
        let url = task.callback_url.unwrap();
        let (_, token) = url.rsplit_once('/').unwrap();
        let forged = body(&task.id, "failed", &json!({}));
        assert_eq!(app.callback_result(token, forged).await, "recorded");
        let waiting = app.get(&format!("/v1/tasks/{}", task.id)).await.1;
        let receiver = &waiting["receiver"];
        assert!(["pending", "processing"].contains(&receiver["state"].as_str().unwrap()));
        assert_eq!(receiver["unconfirmed"], "failed", "{waiting}");
        let ended = app
            .task_when(&task.id, |task| task["receiver"]["outcome_at"].is_string())
            .await;
        assert_eq!(ended["receiver"]["state"], "completed", "{ended}");
        assert_eq!(ended["receiver"]["source"], "poll");
        assert_eq!(
            app.counter(
                "evolink_receiver_outcomes_total{type=\"task.failed\",source=\"callback\"}"
            ),
            0
        );
        assert_eq!(simulator.stats().charges, 1);
    }
}

#[tokio::test]
async fn an_id_that_only_a_callback_has_named_stays_suspicious() {
    let oracle = Oracle::start(Says::Gone).await;
    let app = oracle.receiver(Confirm::Suspicious).await;
    let kind = Kind::AfterAnUnknownSubmit;
    let (id, token) = (id_of(kind), token(&app, kind).await);
    // The first one binds the id and claims nothing; the second one must not profit from that.
    let first = body(&id, "processing", &json!({}));
    assert_eq!(app.callback_result(&token, first).await, "recorded");
    assert_eq!(
        app.callback_result(&token, completed(&id)).await,
        "recorded"
    );
    assert_eq!(receiver_member(&app, &id).await["state"], "processing");
    assert_eq!(doubted(&app, "late_id"), 1);
}

#[tokio::test]
async fn a_true_callback_is_confirmed_by_one_poll_right_after_it() {
    let (app, simulator) = TestApp::builder()
        .with(|config| {
            config.callbacks.confirm = Confirm::Always;
            // Nothing but the callback has the task asked about.
            config.reconcile.first_poll_after = Duration::from_hours(1);
        })
        .start_with_simulator(Options::default())
        .await;
    let task = app.submitted("a").await;
    let id = task["id"].as_str().unwrap();
    let ended = app
        .task_when(id, |task| task["receiver"]["state"] == "completed")
        .await;
    assert_eq!(ended["receiver"]["source"], "poll");
    assert_eq!(simulator.queries().len(), 1);
    assert_eq!(
        simulator.callback_attempts().len(),
        1,
        "answered 2xx at once"
    );
    assert_eq!(
        doubted(&app, "unlisted_host"),
        1,
        "the simulator's files are on this machine"
    );
}

#[tokio::test]
async fn a_conflict_has_evolink_asked_once_and_changes_nothing() {
    let oracle = Oracle::start(Says::Completed).await;
    let app = oracle.receiver(Confirm::Suspicious).await;
    let (id, token) = (id_of(Kind::Plain), token(&app, Kind::Plain).await);
    assert_eq!(
        app.callback_result(&token, completed(&id)).await,
        "recorded"
    );
    let ended = app.get(&format!("/v1/tasks/{id}")).await.1;
    let failed = body(&id, "failed", &json!({}));
    for _ in 0..3 {
        assert_eq!(
            app.callback_result(&token, failed.clone()).await,
            "conflict"
        );
    }
    let answered = after_poll(&app, &oracle, &id, 1).await;
    assert_eq!(
        answered,
        [json!("completed"), json!("callback"), Value::Null]
    );
    // The same one again asks nothing; another one does, but not before its time.
    let other = completed_with(&id, &json!(["https://files.evolink.ai/images/other.webp"]));
    for body in [&failed, &other] {
        assert_eq!(app.callback_result(&token, body.clone()).await, "conflict");
    }
    app.clock
        .advance(NEXT_POLL.saturating_sub(Duration::from_millis(1)));
    sleep(SOME_TICKS).await;
    assert_eq!(oracle.polls(&id), 1);
    app.clock.advance(Duration::from_millis(1));
    after_poll(&app, &oracle, &id, 2).await;
    app.clock.advance(Duration::from_hours(1));
    sleep(SOME_TICKS).await;
    assert_eq!(oracle.polls(&id), 2);
    assert_eq!(app.get(&format!("/v1/tasks/{id}")).await.1, ended);
    assert_eq!(doubted(&app, "conflict"), 2);
    let history = app.get(&format!("/v1/tasks/{id}/events")).await.1;
    let items = history["data"].as_array().unwrap().iter();
    let polled: Vec<&Value> = items.filter(|item| item["source"] == "poll").collect();
    assert!(
        polled.iter().all(|item| item["result"] == "duplicate"),
        "{history}"
    );
    assert_eq!(
        polled.len(),
        2,
        "what EvoLink says itself is in the history"
    );
}

#[tokio::test]
async fn a_claim_outlives_the_process() {
    let oracle = Oracle::start(Says::Nothing).await;
    let app = oracle.receiver(Confirm::Always).await;
    let (id, token) = (id_of(Kind::Plain), token(&app, Kind::Plain).await);
    assert_eq!(
        app.callback_result(&token, completed(&id)).await,
        "recorded"
    );
    after_poll(&app, &oracle, &id, 1).await;
    let (ended, builder) = app.stop().await;
    ended.unwrap();
    oracle.now_says(Says::Completed);
    let app = builder.start().await;
    assert_eq!(receiver_member(&app, &id).await["unconfirmed"], "completed");
    app.clock.advance(NEXT_POLL);
    let confirmed = after_poll(&app, &oracle, &id, 2).await;
    assert_eq!(confirmed, [json!("completed"), json!("poll"), Value::Null]);
}

#[tokio::test]
async fn a_claim_about_a_task_that_is_old_is_confirmed_before_anything_is_given_up() {
    let oracle = Oracle::start(Says::Nothing).await;
    let app = oracle.receiver(Confirm::Always).await;
    let (id, token) = (id_of(Kind::Plain), token(&app, Kind::Plain).await);
    app.clock.advance(Duration::from_hours(25));
    app.task_when(&id, |task| task["receiver"]["state"] == "unresolved")
        .await;
    oracle.now_says(Says::Completed);
    assert_eq!(
        app.callback_result(&token, completed(&id)).await,
        "recorded"
    );
    let task = app
        .task_when(&id, |task| task["receiver"]["state"] == "completed")
        .await;
    assert_eq!(task["receiver"]["source"], "poll");
}
