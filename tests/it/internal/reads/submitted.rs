//! Submitted tasks whose history is read.

use crate::internal::calls::{generation, submit, token_of};
use crate::support::app::TestApp;

/// A task in state `pending`: its task id, its submission id and its callback token.
pub async fn pending(app: &TestApp) -> (String, String, String) {
    submitted(app, "[sim:duration=10m]").await
}

pub async fn submitted(app: &TestApp, prompt: &str) -> (String, String, String) {
    let answer = submit(app, &generation(prompt)).await;
    let submission_id = answer.header("x-submission-id").unwrap().to_owned();
    let token = token_of(app, &submission_id);
    (
        answer.body["id"].as_str().unwrap().to_owned(),
        submission_id,
        token,
    )
}
