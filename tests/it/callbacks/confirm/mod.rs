//! `callbacks.confirm`: an unconfirmed outcome from a callback does not end the task until EvoLink
//! itself has reported the same. A forged callback changes nothing.

mod stories;
mod table;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use evolink_receiver::domain::callback::Subject;
use evolink_receiver::domain::ids::SubmissionId;
use evolink_receiver::domain::task::confirmation::Confirm;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::support::app::callback_body::{body, completed, completed_with};
use crate::support::app::{START, TestApp};
use crate::support::net::raw_server::{End, NOT_FOUND, RawServer, http};
use crate::support::store::database::Bind;
use crate::support::until::until;

/// A little more than two scans of the reconciler: time enough for an unwanted poll to happen.
const SOME_TICKS: Duration = Duration::from_millis(1300);

/// Far above any time under test: reaching it means that the event will never happen.
const PATIENCE: Duration = Duration::from_mins(1);

/// Minimum time between two polls of a task.
const POLL_GAP_MIN: Duration = Duration::from_secs(3);

/// Longer than any gap between two polls in these tests, except polls that EvoLink refuses.
const NEXT_POLL: Duration = Duration::from_secs(4);

/// The circumstances of a callback. Each kind is about a task of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// EvoLink has accepted the submit before, as documented.
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

/// EvoLink's answer to a poll.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Says {
    Completed,
    Failed,
    Processing,
    Gone,
    Nothing,
}

/// A stand-in for EvoLink that gives the same answer about every task. The answer can be changed.
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

    /// The number of polls of task `id`.
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

/// Answers a submit as its prompt says. An accepted task has the prompt in its id.
fn answer(request: &str, says: Says) -> Vec<u8> {
    if let Some(rest) = request.strip_prefix("GET /v1/tasks/") {
        let id = rest.split_whitespace().next().unwrap();
        return match says {
            Says::Completed => http(200, &[], &completed(id)),
            Says::Failed => http(200, &[], &body(id, "failed", &json!({}))),
            Says::Processing => http(200, &[], &body(id, "processing", &json!({}))),
            Says::Gone => http(404, &[], NOT_FOUND),
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

/// The token of a URL that EvoLink would call for a task of this kind.
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

/// Waits until poll `number` is recorded, and returns the task's state, source and claim.
async fn after_poll(app: &TestApp, oracle: &Oracle, id: &str, number: usize) -> [Value; 3] {
    until("the poll", || oracle.polls(id) == number).await;
    let database = app.database().await;
    let sql = "SELECT polls FROM task WHERE task_id = $1";
    let bind = [Bind::Text(id)];
    let deadline = Instant::now() + PATIENCE;
    while database.value::<i64>(sql, &bind).await < i64::try_from(number).unwrap() {
        assert!(Instant::now() < deadline, "the poll was not recorded");
        sleep(Duration::from_millis(10)).await;
    }
    database.close().await;
    let receiver = receiver_member(app, id).await;
    ["state", "source", "unconfirmed"].map(|key| receiver[key].clone())
}
