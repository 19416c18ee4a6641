//! The program's commands besides `serve`, run to their end.

use std::process::{Command, Output};

use serde_json::Value;
use tokio::task::spawn_blocking;

use super::place::Place;
use crate::support::app::TestApp;

pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// Runs the binary against `app`.
pub async fn run(app: &TestApp, args: &[&str]) -> Ended {
    run_at(&format!("http://{}", app.internal), args, &[]).await
}

pub async fn run_at(url: &str, args: &[&str], env: &[(&str, &str)]) -> Ended {
    let mut command = Command::new(env!("CARGO_BIN_EXE_evolink-receiver"));
    command.args(args).env_clear().envs(env.iter().copied());
    command.env("EVOLINK_RECEIVER_URL", url);
    spawn_blocking(move || command.output())
        .await
        .unwrap()
        .unwrap()
        .into()
}

pub fn json(ended: &Ended) -> Value {
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    serde_json::from_str(&ended.stdout).unwrap()
}

/// Builds a command that works on the files of `place`.
pub fn command(place: &Place, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_evolink-receiver"));
    command.args(args).arg("--config").arg(place.config());
    command
}
