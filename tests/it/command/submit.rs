//! `submit`: the binary against a running receiver. What people see, what programs read, and the
//! exit codes.

use evolink_receiver::config::{ApiKey, KeyDigest, Scope};
use evolink_receiver::domain::callback::Subject;
use evolink_receiver::simulator::Options;
use serde_json::Value;

use crate::support::app::TestApp;
use crate::support::net::raw_server::{End, RawServer, http};
use crate::support::process::command::{json, run, run_at};

#[tokio::test]
async fn a_prompt_is_submitted_waited_for_and_shown_with_its_time_line() {
    let (app, _simulator) = TestApp::start_with_simulator(Options::default()).await;
    let args = ["submit", "a cat [sim:duration=300ms]", "--size", "16:9"];
    let waited = run(
        &app,
        &[&args[..], &["--seed", "7", "--wait", "--json"]].concat(),
    )
    .await;
    let task = json(&waited);
    assert_eq!(task["status"], "completed");
    let id = task["id"].as_str().unwrap();

    let shown = run(&app, &["tasks", "show", id]).await;
    assert_eq!(shown.code, Some(0), "{}", shown.stderr);
    let labels: Vec<&str> = shown
        .stdout
        .lines()
        .map_while(|line| line.split_whitespace().next())
        .collect();
    let expected = [
        "task",
        "submission",
        "state",
        "source",
        "model",
        "submitted",
        "prompt",
        "outcome",
        "result",
        "expires",
    ];
    assert_eq!(labels, expected, "{}", shown.stdout);
    let (_, time_line) = shown.stdout.split_once("\n\n").unwrap();
    let seen: Vec<Vec<&str>> = time_line
        .lines()
        .skip(2)
        .map(|line| line.split_whitespace().skip(3).collect())
        .collect();
    let (_, feed) = app.get("/v1/events?after=0").await;
    let event_ids = [0, 1].map(|at| feed["data"][at]["id"].as_str().unwrap().to_owned());
    let expected = [
        vec!["submit", "submit", "-", "begun"],
        vec!["observation", "submit", "pending", "recorded"],
        vec![
            "task.submitted",
            "submit",
            "pending",
            "event",
            &event_ids[0],
        ],
        vec!["observation", "callback", "1", "completed", "recorded"],
        vec![
            "task.completed",
            "callback",
            "completed",
            "event",
            &event_ids[1],
        ],
    ];
    assert_eq!(seen, expected, "{}", shown.stdout);
    assert_eq!(
        json(&run(&app, &["tasks", "show", id, "--json"]).await),
        task
    );
    app.stop().await.0.unwrap();
}

#[tokio::test]
async fn a_submit_of_unknown_outcome_is_found_and_its_time_line_says_what_is_known() {
    let (app, simulator) = TestApp::start_with_simulator(Options::default()).await;
    let prompt = "a cat [sim:bad-gateway,never-ends,lost-callback]";
    assert_eq!(run(&app, &["submit", prompt]).await.code, Some(76));
    app.submitted("a dog [sim:never-ends]").await;
    let args = ["tasks", "list", "--status", "submit_unknown"];
    let page = json(&run(&app, &[&args[..], &["--json"]].concat()).await);
    let tasks = page["data"].as_array().unwrap();
    assert_eq!(tasks.len(), 1, "{page}");
    let id = tasks[0]["id"].as_str().unwrap();
    let listed = run(&app, &args).await;
    assert!(listed.stdout.contains(id), "{}", listed.stdout);

    let shown = run(&app, &["tasks", "show", id]).await.stdout;
    assert!(shown.contains("state       submit_unknown\n"), "{shown}");
    assert!(
        shown.contains("note        EvoLink may have accepted and charged this"),
        "{shown}"
    );
    let ends: Vec<&str> = shown
        .lines()
        .filter(|line| line.contains("  submit "))
        .collect();
    assert_eq!(ends.len(), 2, "{shown}");
    assert!(
        ends[0].ends_with("begun") && ends[1].ends_with("unknown"),
        "{shown}"
    );
    assert!(
        shown.ends_with("\nEvoLink has said nothing of it that could be recorded\n"),
        "{shown}"
    );

    let token = app.token(&Subject::Submission(id.parse().unwrap()));
    let task_id = simulator.tasks()[0].id.clone();
    assert_eq!(app.callback(&token, "oops\u{1b}").await.0, 400);
    assert_eq!(app.callback(&token, "oops\u{1b}").await.0, 400);
    let body = format!(r#"{{"id": "{task_id}", "status": "failed"}}"#);
    assert_eq!(app.callback_result(&token, body).await, "recorded");
    let shown = run(&app, &["tasks", "show", id]).await.stdout;
    let entry = json(&run(&app, &["quarantine", "list", "--json"]).await)["data"][0]["id"].clone();
    for wanted in [
        "callback 1  failed".to_owned(),
        "recorded, adopted".to_owned(),
        format!("quarantine {entry}, 2 times: "),
    ] {
        assert!(shown.contains(&wanted), "{wanted}: {shown}");
    }
    assert!(!shown.contains("note "), "{shown}");
    app.stop().await.0.unwrap();
}

#[tokio::test]
async fn a_submit_that_waits_exits_with_1_if_the_task_has_no_results() {
    let (app, _simulator) = TestApp::start_with_simulator(Options::default()).await;
    let failed = run(&app, &["submit", "x [sim:fail]", "--wait", "--json"]).await;
    assert_eq!(failed.code, Some(1), "{}", failed.stderr);
    let task: Value = serde_json::from_str(&failed.stdout).unwrap();
    assert_eq!(task["receiver"]["state"], "failed");
    assert!(failed.stderr.ends_with(" is failed\n"), "{}", failed.stderr);
    let unasked = run(&app, &["submit", "x [sim:fail]"]).await;
    assert_eq!(
        unasked.code,
        Some(0),
        "it does not wait: {}",
        unasked.stderr
    );
    app.stop().await.0.unwrap();
}

#[tokio::test]
async fn an_error_is_one_line_with_its_parameter_and_an_exit_code() {
    let (app, simulator) = TestApp::start_with_simulator(Options::default()).await;
    for (args, code, says) in [
        (
            &["submit", " "][..],
            64,
            "400 invalid_request: `prompt` must",
        ),
        (&["submit", "x", "--size", "1x1"], 64, "(param: size)"),
        (
            &["tasks", "list", "--status", "done"],
            64,
            "(param: status)",
        ),
        (&["tasks", "show", "nobody"], 64, "404 task_not_found: "),
        (&["tasks", "show", "a/../b?c"], 64, "400 invalid_task_id: "),
        (&["tasks", "watch", "nobody"], 64, "404 task_not_found: "),
        (&["submit", "x [sim:rate-limited]"], 75, "429 rate_limit"),
        (
            &["submit", "x [sim:no-quota]"],
            69,
            "402 insufficient_quota",
        ),
        (&["submit", "x [sim:reset]"], 76, "(submission_id: 0"),
        // EvoLink's, about its account and not about the API key of this command.
        (
            &["submit", "x [sim:no-access]"],
            69,
            "403 model_access_denied",
        ),
        (
            &["submit", "x [sim:never-ends]", "--wait=0"],
            75,
            "no outcome after 0 s",
        ),
    ] {
        let ended = run(&app, args).await;
        assert_eq!(ended.code, Some(code), "{args:?}: {}", ended.stderr);
        assert_eq!(
            ended.stderr.lines().count(),
            1,
            "{args:?}: {}",
            ended.stderr
        );
        assert!(
            ended.stderr.starts_with("evolink-receiver: "),
            "{}",
            ended.stderr
        );
        assert!(ended.stderr.contains(says), "{args:?}: {}", ended.stderr);
    }
    let nobody = run_at("http://127.0.0.1:1", &["tasks", "list"], &[]).await;
    assert_eq!(nobody.code, Some(69));
    let hint = "evolink-receiver: could not reach http://127.0.0.1:1: \
                is `evolink-receiver serve` running? Start it, or set --url URL\n";
    assert_eq!(nobody.stderr, hint);
    let nobody = run_at("http://127.0.0.1:1", &["submit", "x"], &[]).await;
    assert_eq!(nobody.code, Some(69), "nothing was sent: {}", nobody.stderr);
    let other = run_at(&simulator.base_url(), &["tasks", "list"], &[]).await;
    assert_eq!(other.code, Some(64), "{}", other.stderr);
    app.stop().await.0.unwrap();
}

#[tokio::test]
async fn the_api_key_is_sent_and_a_wrong_one_is_told_from_a_wrong_request() {
    let app = TestApp::builder()
        .with(|config| {
            config.internal.api_keys = vec![ApiKey::new(
                "web",
                KeyDigest::of("evr_good"),
                &[Scope::Read],
            )];
        })
        .start()
        .await;
    let url = format!("http://{}", app.internal);
    for (key, args, code) in [
        ("evr_good", &["tasks", "list"][..], 0),
        ("evr_good", &["submit", "x"], 78),
        ("evr_bad", &["tasks", "list"], 78),
        ("", &["tasks", "list"], 78),
    ] {
        let ended = run_at(&url, args, &[("EVOLINK_RECEIVER_API_KEY", key)]).await;
        assert_eq!(ended.code, Some(code), "{key} {args:?}: {}", ended.stderr);
        assert!(key.is_empty() || !ended.stderr.contains(key));
    }
    app.stop().await.0.unwrap();
}

#[tokio::test]
async fn each_kind_and_any_field_of_a_model_can_be_submitted() {
    let (app, evolink) = TestApp::start_with_simulator(Options::default()).await;
    let args = ["submit", "a cat", "--kind", "video", "--model", "a-model"];
    let fields = ["--field", "duration=8", "--field", "style=noir", "--json"];
    let task = json(&run(&app, &[&args[..], &fields].concat()).await);
    assert_eq!(task["receiver"]["kind"], "video");
    let sent = &evolink.submits()[0].body;
    let expected = (&8.into(), &"noir".into(), &"a cat".into());
    assert_eq!(
        (&sent["duration"], &sent["style"], &sent["prompt"]),
        expected
    );

    let file = app.folder().join("body.json");
    std::fs::write(&file, r#"{"model":"m","x":[1.50]}"#).unwrap();
    let file = file.to_str().unwrap();
    let task = json(
        &run(
            &app,
            &["submit", "--kind", "audio", "--body", file, "--json"],
        )
        .await,
    );
    assert_eq!(task["receiver"]["kind"], "audio");
    assert_eq!(evolink.submits()[1].body["x"][0].to_string(), "1.5");

    for base in ["/v1", "/v1/"] {
        let url = format!("http://{}{base}", app.internal);
        let listed = run_at(&url, &["tasks", "list", "--json"], &[]).await;
        assert_eq!(listed.code, Some(0), "{}", listed.stderr);
    }
    for (args, code) in [
        (&["submit"][..], 64),
        (&["submit", "a cat", "--kind", "text"], 64),
        (&["submit", "a cat", "--kind", "audio"], 64),
        (&["submit", "a cat", "--field", "x"], 64),
        (&["submit", "a cat", "--body", file], 64),
        (&["submit", "--body", "/nowhere"], 64),
    ] {
        let refused = run(&app, args).await;
        assert_eq!(refused.code, Some(code), "{args:?}: {}", refused.stderr);
    }
    assert_eq!(evolink.submits().len(), 2);
    app.stop().await.0.unwrap();
}

/// A proxy gives up on a submit that goes on behind it. Whoever repeats it may pay twice.
#[tokio::test]
async fn only_our_own_codes_say_that_nothing_was_sent() {
    let ours = |code: &str| format!(r#"{{"error":{{"code":"{code}","message":"m"}}}}"#);
    for (status, body, is_unknown) in [
        (502, r#"{"message":"bad gateway"}"#.to_owned(), true),
        (503, r#"{"message":"no upstream"}"#.to_owned(), true),
        (504, r#"{"message":"upstream timed out"}"#.to_owned(), true),
        (504, ours("upstream_timeout"), true),
        (504, ours("submit_outcome_unknown"), true),
        (500, ours("internal_error"), true),
        (503, ours("service_unavailable"), false),
        (503, ours("store_nearly_full"), false),
        (503, ours("evolink_unreachable"), false),
        (502, ours("evolink_key_rejected"), false),
    ] {
        let server = RawServer::start(http(status, &[], &body), End::Close).await;
        let ended = run_at(server.url.as_str(), &["submit", "a cat"], &[]).await;
        assert_eq!(
            ended.code == Some(76),
            is_unknown,
            "{body}: {}",
            ended.stderr
        );
        assert_ne!(ended.code, Some(0), "{body}");
    }
}
