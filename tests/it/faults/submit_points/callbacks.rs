//! Kills at each point of a callback.

use tokio::task::JoinHandle;

use super::stage::Stage;
use crate::support::machine::needs::{self, Root};
use crate::support::net::raw::RawClient;
use crate::support::store::is_postgres;

/// EvoLink's own callbacks are lost, because the test sends them itself.
const PROMPT: &str = "[sim:duration=10m,lost-callback] a point of a callback";

/// A task under way, and its callback.
struct Called {
    stage: Stage,
    url: String,
    body: String,
}

impl Called {
    async fn new() -> Self {
        let stage = Stage::new().await;
        let (status, task) = stage
            .submit(PROMPT, "order-4711-callback")
            .await
            .unwrap()
            .unwrap();
        assert_eq!(status, 200, "{task}");
        let task = stage.evolink.tasks().remove(0);
        let result = "https://files.evolink.ai/0.webp";
        Self {
            stage,
            url: task.callback_url.unwrap(),
            body: format!(
                r#"{{"id":"{}","status":"completed","progress":100,"results":["{result}"]}}"#,
                task.id
            ),
        }
    }

    fn call(&self) -> JoinHandle<Option<(u16, String)>> {
        let request = self
            .stage
            .receiver
            .http
            .post(&self.url)
            .body(self.body.clone());
        tokio::spawn(async move {
            let answer = request.send().await.ok()?;
            Some((answer.status().as_u16(), answer.text().await.ok()?))
        })
    }

    /// Starts the receiver again. EvoLink retries and is answered `result`, and nothing is recorded
    /// twice.
    async fn live_on(&mut self, result: &str) {
        self.stage.receiver = self.stage.place.start().await;
        for wanted in [result, "duplicate"] {
            let told = self.call().await.unwrap();
            assert_eq!(told, Some((200, format!(r#"{{"result":"{wanted}"}}"#))));
        }
        self.stage.until_states(&["completed"]).await;
        let outcomes = "SELECT count(*) FROM event WHERE type = 'task.completed'";
        assert_eq!(self.stage.eye.value::<i64>(outcomes, &[]).await, 1);
        self.stage.assert_whole(1, result).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_callback_that_is_killed_before_its_commit_is_not_there_and_is_recorded_when_it_comes_again()
 {
    let mut called = Called::new().await;
    called.stage.eye.hold_writes().await;
    let calling = called.stage.in_line(|| called.call()).await;
    called.stage.receiver.kill();
    called.stage.eye.let_write().await;
    let told = calling.await.unwrap().map(|(status, _)| status);
    assert!(
        matches!(told, None | Some(503)),
        "nobody was to be told: {told:?}"
    );
    assert_eq!(called.stage.states().await, ["pending"]);
    called.live_on("recorded").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_callback_that_is_killed_in_its_answer_is_there() {
    // A receiver on PostgreSQL next writes to its database server instead of to the client.
    if is_postgres() || !needs::are_met(Root::NotNeeded, &["strace"]) {
        return;
    }
    let mut called = Called::new().await;
    let public = called.stage.place.public();
    let name = public.ip().to_string();
    let mut raw =
        RawClient::connect_tls(public, &called.stage.receiver.certificate_pem, &name).await;
    // The first answer completes the TLS handshake, so the next write answers the callback.
    raw.send(format!("GET /x HTTP/1.1\r\nhost: {public}\r\n\r\n"))
        .await;
    assert_eq!(raw.read_response().await.status, 404);
    let Some(mut tracer) = called.stage.end_at_next_answer().await else {
        return;
    };
    let path = called.url.split_once("/callbacks/").unwrap().1;
    let (body, length) = (&called.body, called.body.len());
    raw.send(format!("POST /callbacks/{path} HTTP/1.1\r\nhost: {public}\r\ncontent-length: {length}\r\n\r\n{body}"))
        .await;
    called.stage.receiver.ended().await;
    tracer.wait().unwrap();
    assert_eq!(
        called.stage.states().await,
        ["completed"],
        "committed before the answer"
    );
    called.live_on("duplicate").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_callback_that_is_killed_after_its_answer_is_there() {
    let mut called = Called::new().await;
    let told = called.call().await.unwrap().map(|(status, _)| status);
    assert_eq!(told, Some(200));
    called.stage.receiver.kill();
    called.live_on("duplicate").await;
}
