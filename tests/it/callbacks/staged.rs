//! Tasks whose callbacks come in stages: the first ones may have half of the results. What EvoLink
//! itself says later, with the published results and more, is an update.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::support::app::TestApp;
use crate::support::app::callback_body::{body, completed_with};
use crate::support::net::raw_server::{End, RawServer, http};
use crate::support::until::{PATIENCE, STEP, until};

const ID: &str = "task-unified-1757165031-sounds";
const A: &str = "https://files.evolink.ai/a.mp3";
const B: &str = "https://files.evolink.ai/b.mp3";

/// A receiver with one audio task, and an EvoLink that answers polls as the test says.
struct Stage {
    app: TestApp,
    server: RawServer,
    says: Arc<Mutex<String>>,
    token: String,
}

impl Stage {
    async fn open() -> Self {
        let says = Arc::new(Mutex::new(body(ID, "processing", &json!({}))));
        let saying = Arc::clone(&says);
        let answer = move |request: &str| {
            if request.starts_with("GET ") {
                return http(200, &[], &saying.lock().unwrap());
            }
            http(200, &[], &body(ID, "pending", &json!({})))
        };
        let server = RawServer::start_answering(answer, End::Close).await;
        let url = server.url.parse().unwrap();
        let builder = TestApp::builder().with_manual_clock().with(|config| {
            config.evolink.base_url = url;
            config.reconcile.first_poll_after = Duration::from_hours(1);
            config.forward.allowed_hosts = vec!["app.example".to_owned()];
            config.archive.enabled = true;
        });
        let app = builder.start().await;
        let request = json!({"model": "suno-v5", "callback_url": "https://app.example/"});
        let submit = app.request(Method::POST, "/v1/audios/generations");
        let task: Value = submit
            .json(&request)
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        let submission = task["receiver"]["submission_id"].as_str().unwrap();
        let url = server.requests().remove(0);
        let token = url.split("/callbacks/").nth(1).unwrap();
        let token = token.split('"').next().unwrap().to_owned();
        assert!(token.contains(submission), "{token}");
        Self {
            app,
            server,
            says,
            token,
        }
    }

    fn says(&self, results: &[&str]) {
        *self.says.lock().unwrap() = completed_with(ID, &json!(results));
    }

    async fn hears(&self, results: &[&str]) -> String {
        let callback = completed_with(ID, &json!(results));
        self.app.callback_result(&self.token, callback).await
    }

    fn polls(&self) -> usize {
        let requests = self.server.requests();
        let polls = requests
            .iter()
            .filter(|request| request.starts_with("GET "));
        polls.count()
    }

    /// The URLs of the task when it has this many, by their numbers.
    async fn numbered(&self, count: usize) -> Vec<String> {
        let has =
            |task: &Value| task["receiver"]["results"].as_array().map(Vec::len) == Some(count);
        let task = self.app.task_when(ID, has).await;
        assert_eq!(task["receiver"]["state"], "completed", "{task}");
        assert!(task["receiver"]["unconfirmed"].is_null(), "{task}");
        let results = task["receiver"]["results"].as_array().unwrap();
        results
            .iter()
            .map(|result| result["origin_url"].as_str().unwrap().to_owned())
            .collect()
    }

    async fn event_types(&self) -> Vec<String> {
        let (_, page) = self.app.get("/v1/events?after=0").await;
        let events = page["data"].as_array().unwrap().iter();
        events
            .map(|event| event["type"].as_str().unwrap().to_owned())
            .filter(|kind| kind != "task.submitted" && kind != "task.processing")
            .collect()
    }

    /// Lets the clock go on until EvoLink has been polled once more.
    async fn next_poll(&self) {
        let before = self.polls();
        self.app.clock.advance(Duration::from_secs(7));
        until("another poll", || self.polls() > before).await;
        self.polls_recorded().await;
    }

    /// Waits until the polls so far are recorded: only then is the next one planned.
    async fn polls_recorded(&self) {
        const SQL: &str = "SELECT polls FROM task";
        let database = self.app.database().await;
        let polled = i64::try_from(self.polls()).unwrap();
        let deadline = Instant::now() + PATIENCE;
        while database.value::<i64>(SQL, &[]).await < polled {
            assert!(Instant::now() < deadline, "{polled} polls");
            sleep(STEP).await;
        }
        database.close().await;
    }

    async fn assert_nothing_conflicts(&self) {
        let (_, page) = self.app.get("/v1/quarantine").await;
        assert_eq!(page["data"], json!([]), "{page}");
    }
}

#[tokio::test]
async fn a_result_that_comes_later_is_an_update_and_the_published_one_keeps_its_number() {
    let stage = Stage::open().await;
    stage.says(&[A]);
    assert_eq!(stage.hears(&[A]).await, "recorded");
    assert_eq!(stage.numbered(1).await, [A]);
    let before = stage.app.get(&format!("/v1/tasks/{ID}")).await.1;

    // EvoLink itself must say it, and lists the new one first.
    assert_eq!(stage.hears(&[B, A]).await, "recorded");
    stage.says(&[B, A]);
    stage.next_poll().await;
    assert_eq!(stage.numbered(2).await, [A, B]);
    let (_, task) = stage.app.get(&format!("/v1/tasks/{ID}")).await;
    assert_eq!(task["results"], json!([B, A]));
    let (old, new) = (&before["receiver"], &task["receiver"]);
    assert_eq!(new["outcome_at"], old["outcome_at"], "{task}");
    assert_eq!(new["results"][0]["url"], old["results"][0]["url"]);
    let second = new["results"][1]["url"].as_str().unwrap();
    assert!(second.ends_with("/results/1"), "{task}");
    assert_eq!(
        stage.event_types().await,
        ["task.completed", "task.updated"]
    );

    // All of it again, in any order, changes nothing.
    for results in [&[A][..], &[B, A], &[A, B], &[B]] {
        assert_eq!(stage.hears(results).await, "duplicate", "{results:?}");
    }
    assert_eq!(
        stage.hears(&["https://files.evolink.ai/c"]).await,
        "conflict"
    );
    let database = stage.app.database().await;
    let sql = "SELECT (SELECT count(*) FROM result), (SELECT count(*) FROM delivery)";
    let counted: (i64, i64) = database.row(sql, &[]).await;
    assert_eq!(
        counted,
        (2, 2),
        "files, and deliveries to the app's address"
    );
    let url = "SELECT url FROM result WHERE id % 64 = 1";
    assert_eq!(database.row::<(String,)>(url, &[]).await.0, B);
    let (_, history) = stage.app.get(&format!("/v1/tasks/{ID}/events")).await;
    let updates = history["data"].as_array().unwrap().iter();
    let update = updates.clone().find(|row| row["type"] == "task.updated");
    let shown = &update.unwrap()["task"]["receiver"];
    assert_eq!(shown["outcome_at"], old["outcome_at"], "{history}");
    stage.app.stop().await.0.unwrap();
}

#[tokio::test]
async fn an_update_is_found_by_polls_alone_and_these_end() {
    let stage = Stage::open().await;
    stage.says(&[A]);
    assert_eq!(stage.hears(&[A]).await, "recorded");
    assert_eq!(stage.numbered(1).await, [A]);
    stage.next_poll().await;
    // All later callbacks are lost.
    stage.says(&[A, B]);
    stage.app.clock.advance(Duration::from_secs(20));
    assert_eq!(stage.numbered(2).await, [A, B]);
    assert_eq!(
        stage.event_types().await,
        ["task.completed", "task.updated"]
    );

    let database = stage.app.database().await;
    let mut planned = 1;
    for _ in 0..30 {
        let sql = "SELECT count(*) FROM task WHERE next_poll_at IS NOT NULL";
        planned = database.row::<(i64,)>(sql, &[]).await.0;
        if planned == 0 {
            break;
        }
        let before = stage.polls();
        stage.app.clock.advance(Duration::from_mins(2));
        until("another poll", || stage.polls() > before).await;
        stage.polls_recorded().await;
    }
    assert_eq!(planned, 0, "EvoLink is not polled for ever");
    assert!(stage.polls() < 12, "{}", stage.polls());
    stage.app.stop().await.0.unwrap();
}

#[tokio::test]
async fn stages_in_the_wrong_order_and_repeated_leave_the_whole_outcome() {
    let stage = Stage::open().await;
    let text = || body(ID, "processing", &json!({"progress": 40}));
    stage.says(&[A, B]);
    // The last one first.
    assert_eq!(stage.hears(&[A, B]).await, "recorded");
    assert_eq!(stage.numbered(2).await, [A, B]);
    for _ in 0..2 {
        assert_eq!(stage.hears(&[B]).await, "duplicate");
        assert_eq!(stage.hears(&[A, B]).await, "duplicate");
        let again = stage.app.callback_result(&stage.token, text()).await;
        assert_eq!(again, "unchanged");
    }
    assert_eq!(stage.event_types().await, ["task.completed"]);
    stage.assert_nothing_conflicts().await;
    // EvoLink's own answer may lag behind: that takes nothing away.
    stage.says(&[A]);
    stage.next_poll().await;
    assert_eq!(stage.numbered(2).await, [A, B]);
    stage.assert_nothing_conflicts().await;
    stage.app.stop().await.0.unwrap();
}

/// The first callback waits for its poll, so the second one must wait too.
#[tokio::test]
async fn a_callback_that_contradicts_one_that_waits_for_its_poll_ends_nothing() {
    let stage = Stage::open().await;
    stage.says(&[A]);
    assert_eq!(stage.hears(&[A]).await, "recorded");
    let failed = body(ID, "failed", &json!({}));
    let heard = stage.app.callback_result(&stage.token, failed).await;
    assert_eq!(heard, "recorded");
    let task = stage
        .app
        .task_when(ID, |task| task["receiver"]["finished"] == true);
    stage.next_poll().await;
    let task = task.await;
    assert_eq!(task["status"], "completed", "as EvoLink says: {task}");
    assert_eq!(task["receiver"]["source"], "poll", "{task}");
}
