//! `submit --wait` for a person: the ids at once, then EvoLink's progress, and a way to leave.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Command, Stdio};

use evolink_receiver::simulator::Options;
use rustix::process::{Pid, Signal, kill_process};
use tokio::task::spawn_blocking;

use crate::support::app::TestApp;
use crate::support::process::command::run;
use crate::support::process::terminal::Terminal;

#[tokio::test(flavor = "multi_thread")]
async fn the_ids_are_printed_before_the_outcome_and_ctrl_c_says_that_the_task_goes_on() {
    let (app, _simulator) = TestApp::start_with_simulator(Options::default()).await;
    for more in [&[][..], &["--json"]] {
        let mut submit = Command::new(env!("CARGO_BIN_EXE_evolink-receiver"));
        submit
            .args(["submit", "a cat [sim:never-ends]", "--wait=600"])
            .args(more);
        submit
            .env_clear()
            .env("EVOLINK_RECEIVER_URL", format!("http://{}", app.internal));
        submit.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = submit.spawn().unwrap();
        let (mut stdout, mut stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let ended = spawn_blocking(move || {
            let is_json = !more.is_empty();
            let mut ids = String::new();
            let mut read = |reader: &mut dyn std::io::Read| {
                let mut lines = BufReader::new(reader);
                lines.read_line(&mut ids).unwrap();
                lines.read_line(&mut ids).unwrap();
                kill_process(Pid::from_child(&child), Signal::INT).unwrap();
                let mut rest = String::new();
                lines.read_to_string(&mut rest).unwrap();
                rest
            };
            let rest = if is_json {
                read(&mut stderr)
            } else {
                read(&mut stdout)
            };
            let (mut out, mut complaint) = (String::new(), String::new());
            stdout.read_to_string(&mut out).unwrap();
            stderr.read_to_string(&mut complaint).unwrap();
            let code = child.wait().unwrap().code();
            (code, ids, out, rest + &complaint)
        });
        let (code, ids, out, complaint) = ended.await.unwrap();
        let lines: Vec<&str> = ids.lines().collect();
        assert!(lines[0].starts_with("task        task-unified-"), "{ids}");
        let id = lines[1].strip_prefix("submission  ").unwrap();
        let says = format!(
            "evolink-receiver: the task goes on: ask with `evolink-receiver tasks show {id}`\n"
        );
        assert_eq!((code, out.as_str(), complaint), (Some(130), "", says));
        assert_eq!(run(&app, &["tasks", "show", id]).await.code, Some(0));
    }
    app.stop().await.0.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_who_waits_sees_evolinks_progress() {
    let (app, _simulator) = TestApp::start_with_simulator(Options::default()).await;
    let url = format!("http://{}", app.internal);
    let waiting = spawn_blocking(move || {
        let args = ["submit", "a cat [sim:duration=8s]", "--wait"];
        Terminal::of(80).run(&args, &[("EVOLINK_RECEIVER_URL", &url)])
    });
    if let Some(ended) = waiting.await.unwrap() {
        assert_eq!(ended.code, Some(0), "{}", ended.stdout);
        let (ids, rest) = ended.stdout.split_once(" %  ").expect("a bar");
        assert!(ids.contains("task        task-unified-"), "{ids}");
        assert!(ids.contains("submission  0"), "{ids}");
        assert!(rest.contains("state       completed\n"), "{rest}");
    }
    app.stop().await.0.unwrap();
}
