//! The binary on a terminal of its own, as a person sees it.

use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};

use super::command::Ended;
use crate::support::machine::needs::{self, Root};

/// A terminal, and what happens at it.
#[derive(Clone, Copy)]
pub struct Terminal<'a> {
    pub columns: u16,
    /// Ctrl-C is pressed once this was shown.
    pub ctrl_c_after: Option<&'a str>,
}

impl Terminal<'_> {
    pub const fn of(columns: u16) -> Self {
        Self {
            columns,
            ctrl_c_after: None,
        }
    }

    /// Runs the program, and returns everything it showed as stdout. `None`, after printing one
    /// line, where the machine has no tool for it.
    pub fn run(self, args: &[&str], env: &[(&str, &str)]) -> Option<Ended> {
        if !needs::are_met(Root::NotNeeded, &["script", "stty", "timeout"]) {
            return None;
        }
        let columns = self.columns;
        let quoted: Vec<String> = args.iter().map(|arg| format!("'{arg}'")).collect();
        let line = format!(
            "stty cols {columns} rows 40 -onlcr; exec {} {}",
            env!("CARGO_BIN_EXE_evolink-receiver"),
            quoted.join(" ")
        );
        // Outside of the terminal, or it would pass Ctrl-C on once more.
        let mut script = Command::new("timeout");
        script.args(["60", "script", "-qec", &line, "/dev/null"]);
        script
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default());
        script
            .env("TERM", "xterm")
            .env("SHELL", "/bin/sh")
            .envs(env.iter().copied());
        script
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = script.spawn().unwrap();
        // It stays open: its end would be the end of the terminal.
        let mut keyboard = child.stdin.take().unwrap();
        let mut screen = child.stdout.take().unwrap();
        let (mut shown, mut is_pressed) = (Vec::new(), false);
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = screen.read(&mut bytes) {
            shown.extend_from_slice(&bytes[..count]);
            let text = String::from_utf8_lossy(&shown);
            let is_due = self
                .ctrl_c_after
                .is_some_and(|wanted| text.contains(wanted));
            if is_due && !is_pressed {
                is_pressed = true;
                keyboard.write_all(b"\x03").unwrap();
            }
        }
        Some(Ended {
            code: child.wait().unwrap().code(),
            stdout: String::from_utf8(shown).unwrap(),
            stderr: String::new(),
        })
    }
}
