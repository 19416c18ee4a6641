//! `completions` and `man`: every command is in them, and a shell can read them.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Command, Stdio};

use clap::CommandFactory as _;
use evolink_receiver::cli::Cli;

use super::binary::{code, run, stderr, stdout};

fn commands() -> BTreeSet<String> {
    let cli = Cli::command();
    let commands = cli.get_subcommands();
    commands
        .map(|command| command.get_name().to_owned())
        .collect()
}

#[test]
fn the_completions_of_every_shell_name_every_command() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let output = run(&["completions", shell]);
        assert_eq!(code(&output), Some(0), "{}", stderr(&output));
        for command in commands() {
            assert!(stdout(&output).contains(&command), "{shell}: {command}");
        }
    }
    let script = run(&["completions", "bash"]).stdout;
    let mut bash = Command::new("bash");
    let mut bash = bash
        .args(["-n", "-s"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    bash.stdin.take().unwrap().write_all(&script).unwrap();
    assert!(bash.wait().unwrap().success());
}

#[test]
fn the_manual_has_a_page_for_every_command_and_no_key_of_the_environment() {
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("man");
    let mut man = Command::new(env!("CARGO_BIN_EXE_evolink-receiver"));
    man.env_clear()
        .env("EVOLINK_RECEIVER_API_KEY", "evr_secret");
    let output = man.arg("man").arg("--out").arg(&pages).output().unwrap();
    assert_eq!(code(&output), Some(0), "{}", stderr(&output));
    let printed = run(&["man"]);
    for command in commands() {
        let page = pages.join(format!("evolink-receiver-{command}.1"));
        let page = std::fs::read_to_string(&page).expect(&command);
        assert!(
            page.contains(".TH ") && !page.contains("evr_secret"),
            "{command}"
        );
        let name = command.replace('-', "\\-");
        assert!(
            stdout(&printed).contains(&name),
            "{command}: {}",
            stdout(&printed)
        );
    }
}
