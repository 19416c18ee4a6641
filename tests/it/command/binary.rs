//! The binary in an environment of the test, and what it printed.

use std::path::Path;
use std::process::{Command, Output};

/// Runs the binary with `env` as its whole environment.
pub fn run_env(args: &[&str], env: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_evolink-receiver"));
    command.args(args).env_clear().envs(env.iter().copied());
    command.output().expect("the binary runs")
}

pub fn run(args: &[&str]) -> Output {
    run_env(args, &[])
}

pub fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).expect("UTF-8")
}

pub fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).expect("UTF-8")
}

pub fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

pub fn check(path: &Path, env: &[(&str, &str)]) -> Output {
    run_env(&["check", "--config", path.to_str().expect("UTF-8")], env)
}
