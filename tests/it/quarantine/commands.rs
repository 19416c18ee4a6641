//! `quarantine list`, `show`, `replay`: the binary against a running receiver.

use serde_json::Value;

use crate::support::app::TestApp;
use crate::support::app::callback_body::completed;
use crate::support::app::quarantine::put;
use crate::support::process::command::{json, run, run_at};

#[tokio::test]
async fn entries_are_listed_shown_and_replayed() {
    let app = TestApp::start().await;
    let none = run(&app, &["quarantine", "list"]).await;
    assert_eq!(
        (none.code, none.stdout.as_str()),
        (Some(0), "nothing is in quarantine\n")
    );
    let nothing = run(&app, &["quarantine", "replay", "--all"]).await;
    assert_eq!(
        (nothing.code, nothing.stdout.as_str()),
        (Some(0), "nothing to replay\n")
    );
    let database = app.database().await;
    let first = put(&database, "~shop", &completed("task-1")).await;
    let second = put(&database, "~shop", &completed("task-2")).await;
    let bad = put(&database, "~shop", "[]\u{1b}[31m").await;

    let page = run(&app, &["quarantine", "list", "--limit", "2"]).await;
    let lines: Vec<&str> = page.stdout.lines().collect();
    assert_eq!(lines.len(), 5, "{}", page.stdout);
    assert!(
        lines[0].trim_start().starts_with("id") && lines[2].contains("unreadable"),
        "{}",
        page.stdout
    );
    let cursor = lines[4]
        .strip_prefix("there may be more: --cursor ")
        .unwrap();
    let rest = json(&run(&app, &["quarantine", "list", "--json", "--cursor", cursor]).await);
    assert_eq!(rest["data"][0]["id"], first);
    let other = run(&app, &["quarantine", "list", "--subject", "~other"]).await;
    assert_eq!(other.stdout, "nothing is in quarantine\n");

    let shown = run(&app, &["quarantine", "show", &bad.to_string()]).await;
    assert_eq!(shown.code, Some(0), "{}", shown.stderr);
    assert!(
        shown.stdout.ends_with("\n\n[]\\u{1b}[31m\n"),
        "{}",
        shown.stdout
    );
    assert!(
        shown
            .stdout
            .contains("headers     content-type: application/json\n"),
        "{}",
        shown.stdout
    );
    let raw = run(&app, &["quarantine", "show", &bad.to_string(), "--raw"]).await;
    assert_eq!((raw.code, raw.stdout.as_str()), (Some(0), "[]\u{1b}[31m"));
    let shown = json(&run(&app, &["quarantine", "show", &bad.to_string(), "--json"]).await);
    assert_eq!(shown["body"], "[]\u{1b}[31m");

    let one = run(&app, &["quarantine", "replay", &second.to_string()]).await;
    assert_eq!(
        (one.code, one.stdout),
        (Some(0), format!("{second}  recorded  task-2\n1 recorded\n"))
    );
    let all = run(&app, &["quarantine", "replay", "--all", "--json"]).await;
    assert_eq!(all.code, Some(65), "{}", all.stderr);
    assert_eq!(
        all.stderr,
        "evolink-receiver: 1 of 2 bodies cannot be read yet\n"
    );
    let lines: Vec<Value> = all
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let results: Vec<_> = lines
        .iter()
        .map(|line| (line["entry"]["id"].as_i64(), line["result"].as_str()))
        .collect();
    assert_eq!(
        results,
        [
            (Some(first), Some("recorded")),
            (Some(bad), Some("unreadable"))
        ]
    );
    assert_eq!(app.get("/v1/tasks/task-1").await.1["status"], "completed");
    app.stop().await.0.unwrap();
}

#[tokio::test]
async fn a_wrong_command_is_told_from_a_service_that_is_away() {
    let app = TestApp::start().await;
    for (args, says) in [
        (
            &["quarantine", "show", "7"][..],
            "404 quarantine_not_found: ",
        ),
        (&["quarantine", "replay", "7"], "404 quarantine_not_found: "),
        (
            &["quarantine", "list", "--subject", "x"],
            "(param: subject)",
        ),
        (&["quarantine", "show", "0"], "0 is not in 1.."),
        (&["quarantine", "replay"], "required"),
        (
            &["quarantine", "replay", "--all", "7"],
            "cannot be used with",
        ),
        (
            &["quarantine", "show", "7", "--raw", "--json"],
            "cannot be used with",
        ),
    ] {
        let ended = run(&app, args).await;
        assert_eq!(ended.code, Some(64), "{args:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(says), "{args:?}: {}", ended.stderr);
    }
    let nobody = run_at("http://127.0.0.1:1", &["quarantine", "list"], &[]).await;
    assert_eq!(nobody.code, Some(69));
    app.stop().await.0.unwrap();
}
