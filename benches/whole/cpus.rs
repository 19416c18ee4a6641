//! Keeps the load and the servers on separate processors, if requested.

use std::process::Command;

use anyhow::{Context as _, ensure};

/// Keeps this process, and all threads that it starts, on `cpus` (`2,3` or `2-3`).
pub fn keep_to(cpus: &str) -> anyhow::Result<()> {
    let pid = std::process::id().to_string();
    let mut taskset = Command::new("taskset");
    let output = taskset.args(["-a", "-c", "-p", cpus, &pid]).output();
    let output = output.context("needs taskset")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "cannot keep to cpus {cpus}: {said}"
    );
    Ok(())
}

/// Returns `command`, kept on `cpus` if any are given.
pub fn bind(command: Command, cpus: Option<&str>) -> Command {
    let Some(cpus) = cpus else {
        return command;
    };
    let mut bound = Command::new("taskset");
    bound.args(["-c", cpus]).arg(command.get_program());
    bound.args(command.get_args());
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            bound.env(name, value);
        }
    }
    bound
}
