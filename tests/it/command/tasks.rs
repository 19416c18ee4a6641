//! `tasks`: the binary against a running receiver. What people see, what programs
//! read, and the exit codes.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use evolink_receiver::simulator::Options;
use serde_json::Value;
use tokio::task::spawn_blocking;

use crate::support::app::{TestApp, shelf};
use crate::support::process::command::{Ended, json, run};

#[tokio::test]
async fn tasks_are_listed_page_by_page() {
    let (app, _simulator) = TestApp::start_with_simulator(Options::default()).await;
    let none = run(&app, &["tasks", "list"]).await;
    assert_eq!((none.code, none.stdout.as_str()), (Some(0), "no tasks\n"));
    for n in 0..3 {
        app.submitted(&format!("cat {n} [sim:never-ends]")).await;
    }
    let first = run(&app, &["tasks", "list", "--limit", "2"]).await;
    let lines: Vec<&str> = first.stdout.lines().collect();
    assert_eq!(lines.len(), 5, "{}", first.stdout);
    assert!(lines[0].starts_with("task ") && lines[2].contains("pending"));
    let cursor = lines[4]
        .strip_prefix("there may be more: --cursor ")
        .unwrap();
    let rest = json(&run(&app, &["tasks", "list", "--json", "--cursor", cursor]).await);
    assert_eq!(rest["data"].as_array().unwrap().len(), 1);
    for (after, count) in [("1h", 3), ("2026-01-01", 3), ("2400-01-01", 0)] {
        let args = ["tasks", "list", "--json", "--created-after", after];
        let page = json(&run(&app, &args).await);
        assert_eq!(page["data"].as_array().unwrap().len(), count, "{after}");
    }
    let args = ["submit", "a cat [sim:never-ends]", "--reference", "order 7"];
    let named = run(&app, &args).await.stdout;
    assert!(named.contains("reference   order 7\n"), "{named}");
    let args = ["tasks", "list", "--json", "--reference", "order 7"];
    let page = json(&run(&app, &args).await);
    assert_eq!(page["data"].as_array().unwrap().len(), 1, "{page}");
    let args = ["tasks", "list", "--status", "completed", "--client", "web"];
    let none = run(
        &app,
        &[&args[..], &["--created-after", "2026-01-01T00:00:00Z"]].concat(),
    )
    .await;
    assert_eq!((none.code, none.stdout.as_str()), (Some(0), "no tasks\n"));
    app.stop().await.0.unwrap();
}

#[tokio::test]
async fn a_list_is_full_however_rare_its_tasks_are() {
    let app = TestApp::builder().with_manual_clock().start().await;
    shelf::fill(&app.database().await).await;
    let old = |limit| {
        [
            "tasks",
            "list",
            "--json",
            "--status",
            "completed",
            "--limit",
            limit,
        ]
    };
    // The service itself returns none on its first page, because none is among the newest ten
    // thousand.
    let first = json(&run(&app, &old("200")).await);
    assert_eq!(first["data"].as_array().unwrap().len(), 200);
    let rest = ["--cursor", first["next"].as_str().unwrap()];
    let second = json(&run(&app, &[&old("7")[..], &rest].concat()).await);
    assert_eq!(second["data"].as_array().unwrap().len(), 7);
    assert_ne!(second["data"][0]["id"], first["data"][0]["id"]);
    let none = run(&app, &["tasks", "list", "--client", "nobody"]).await;
    assert_eq!((none.code, none.stdout.as_str()), (Some(0), "no tasks\n"));
    app.stop().await.0.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_are_watched_until_all_are_terminal() {
    let app = TestApp::start().await;
    let idle = run(&app, &["tasks", "watch"]).await;
    assert_eq!(idle.stdout, "no task is under way\n");
    let token = app.standing_token("shop");
    let told = async |id: &str, status: &str| {
        let body = format!(
            r#"{{"id": "{id}", "status": "{status}", "progress": 40, "results": ["https://files.evolink.ai/a"]}}"#
        );
        assert_eq!(app.callback_result(&token, body).await, "recorded");
    };
    told("task-1", "processing").await;
    told("task-2", "processing").await;
    let mut watching = Command::new(env!("CARGO_BIN_EXE_evolink-receiver"))
        .args(["tasks", "watch"])
        .env_clear()
        .env("EVOLINK_RECEIVER_URL", format!("http://{}", app.internal))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(watching.stdout.take().unwrap()).lines();
    let first = [
        lines.next().unwrap().unwrap(),
        lines.next().unwrap().unwrap(),
    ];
    assert_eq!(
        first,
        ["task-2  processing, 40 %", "task-1  processing, 40 %"]
    );
    told("task-1", "completed").await;
    told("task-2", "failed").await;
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    assert_eq!(rest.len(), 2, "{rest:?}");
    for start in [
        "task-1  completed, by callback after ",
        "task-2  failed, by callback after ",
    ] {
        assert!(rest.iter().any(|line| line.starts_with(start)), "{rest:?}");
    }
    assert_eq!(watching.wait().unwrap().code(), Some(0));
    let again = run(&app, &["tasks", "watch", "task-1", "--json"]).await;
    assert_eq!(
        json(&again)["status"],
        "completed",
        "one line, for it does not change any more"
    );
    app.stop().await.0.unwrap();
}

#[tokio::test]
async fn what_others_wrote_cannot_steer_the_terminal() {
    let app = TestApp::start().await;
    let token = app.standing_token("shop");
    let body = r#"{"id": "task-1", "status": "failed", "model": "m\u001b[31m",
        "error": {"code": "bad\u202ecode", "message": "one\ntwo\u001b]0;title\u0007"}}"#;
    assert_eq!(app.callback_result(&token, body).await, "recorded");
    let shown = run(&app, &["tasks", "show", "task-1"]).await;
    assert!(
        shown
            .stdout
            .contains(r"error       bad\u{202e}code: one\ntwo\u{1b}]0;title\u{7}"),
        "{}",
        shown.stdout
    );
    assert!(shown.stdout.contains(r"model       m\u{1b}[31m"));
    for args in [
        &["tasks", "show", "task-1"][..],
        &["tasks", "list"],
        &["tasks", "show", "task-1", "--json"],
    ] {
        let ended = run(&app, args).await;
        let is_harmful = |character: char| character.is_control() && character != '\n';
        assert!(
            !ended.stdout.contains(is_harmful),
            "{args:?}: {:?}",
            ended.stdout
        );
    }
    app.stop().await.0.unwrap();
}

/// Ends the command after 30 s, so that one that never ends fails the test.
async fn run_in_time(app: &TestApp, args: &[&str]) -> Ended {
    let mut command = Command::new("timeout");
    command.args(["30", env!("CARGO_BIN_EXE_evolink-receiver")]);
    command.args(args);
    command.env("EVOLINK_RECEIVER_URL", format!("http://{}", app.internal));
    let output = spawn_blocking(move || command.output()).await.unwrap();
    output.unwrap().into()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_of_all_ends_when_only_submits_of_unknown_outcome_are_left() {
    let (app, _simulator) = TestApp::start_with_simulator(Options::default()).await;
    let prompt = "a cat [sim:bad-gateway,never-ends,lost-callback]";
    assert_eq!(run(&app, &["submit", prompt]).await.code, Some(76));
    let watched = run_in_time(&app, &["tasks", "watch"]).await;
    assert_eq!(
        watched.code,
        Some(0),
        "{}{}",
        watched.stdout,
        watched.stderr
    );
    let lines: Vec<&str> = watched.stdout.lines().collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].ends_with("  submit_unknown, 0 %"), "{lines:?}");
    assert!(
        lines[1].starts_with("not waiting for 1 of unknown outcome: "),
        "{lines:?}"
    );
    // Another task is watched to its end.
    app.submitted("a dog [sim:duration=1s]").await;
    let watched = run_in_time(&app, &["tasks", "watch", "--json"]).await;
    assert_eq!(
        watched.code,
        Some(0),
        "{}{}",
        watched.stdout,
        watched.stderr
    );
    let states: Vec<String> = watched
        .stdout
        .lines()
        .map(|line| {
            let task: Value = serde_json::from_str(line).unwrap();
            task["receiver"]["state"].as_str().unwrap().to_owned()
        })
        .collect();
    assert!(states.contains(&"submit_unknown".to_owned()), "{states:?}");
    assert_eq!(states.last().unwrap(), "completed", "{states:?}");
    app.stop().await.0.unwrap();
}
