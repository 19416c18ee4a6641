//! `status`: one screen, from a real service and from one that is away.

use evolink_receiver::config::{ApiKey, KeyDigest, Scope};
use evolink_receiver::simulator::Options;
use serde_json::Value;
use tokio::task::spawn_blocking;

use crate::support::app::TestApp;
use crate::support::process::command::{json, run, run_at};
use crate::support::process::terminal::Terminal;

#[tokio::test]
async fn the_status_counts_what_came_what_is_open_and_what_is_unknown() {
    let (app, _simulator) = TestApp::start_with_simulator(Options::default()).await;
    let args = ["submit", "a cat [sim:duration=300ms]", "--wait"];
    assert_eq!(run(&app, &args).await.code, Some(0));
    app.submitted("a dog [sim:never-ends]").await;
    let lost = ["submit", "a fox [sim:bad-gateway,never-ends,lost-callback]"];
    assert_eq!(run(&app, &lost).await.code, Some(76));
    assert_eq!(app.callback("no-token", "{}").await.0, 404);
    let status = json(&run(&app, &["status", "--json"]).await);
    assert_eq!(status["service"]["ready"], true, "{status}");
    let refused = status["last_hour"]["refused"].as_object().unwrap();
    assert_eq!(
        refused.values().filter_map(Value::as_u64).sum::<u64>(),
        1,
        "{status}"
    );
    assert_eq!(status["last_hour"]["outcomes"]["callback"], 1, "{status}");
    assert_eq!(status["last_hour"]["callbacks"]["recorded"], 1, "{status}");
    let open = status["tasks"]["pending"].as_i64().unwrap()
        + status["tasks"]["processing"].as_i64().unwrap();
    assert_eq!(open, 1, "{status}");
    assert_eq!(status["tasks"]["submit_unknown"], 1);
    let unknown = status["unknown_submits"][0]["submission_id"]
        .as_str()
        .unwrap();
    let shown = run(&app, &["status"]).await;
    assert_eq!(shown.code, Some(0), "{}", shown.stderr);
    for line in [
        "service      ready, version ",
        "callbacks    1 recorded in the last hour\n",
        "outcomes     1 callback in the last hour\n",
        &format!("newest {unknown}: tasks list --status submit_unknown"),
        "writer       ok      ",
        "evolink      ok      ",
    ] {
        assert!(shown.stdout.contains(line), "{line}: {}", shown.stdout);
    }
    app.stop().await.0.unwrap();
}

#[tokio::test]
async fn without_the_scope_the_status_is_what_everybody_may_know() {
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
    for key in ["evr_good", ""] {
        let shown = run_at(&url, &["status"], &[("EVOLINK_RECEIVER_API_KEY", key)]).await;
        assert_eq!(shown.code, Some(0), "{}", shown.stderr);
        assert!(
            shown.stdout.starts_with("service      ready\n"),
            "{}",
            shown.stdout
        );
        assert!(
            shown
                .stdout
                .contains("a key with the scope admin shows all"),
            "{}",
            shown.stdout
        );
        assert!(
            shown.stdout.contains("writer       ok      "),
            "{}",
            shown.stdout
        );
    }
    app.stop().await.0.unwrap();
}

#[tokio::test]
async fn a_watch_shows_a_service_that_is_away_and_ends_at_ctrl_c() {
    let nobody = "http://127.0.0.1:1";
    let away = run_at(nobody, &["status"], &[]).await;
    assert_eq!(away.code, Some(69));
    assert!(
        away.stderr.contains("is `evolink-receiver serve` running?"),
        "{}",
        away.stderr
    );
    let watching = spawn_blocking(move || {
        let terminal = Terminal {
            ctrl_c_after: Some("serve` running?"),
            ..Terminal::of(80)
        };
        terminal.run(&["status", "--watch"], &[("EVOLINK_RECEIVER_URL", nobody)])
    });
    if let Some(ended) = watching.await.unwrap() {
        assert_eq!(ended.code, Some(0), "{}", ended.stdout);
        assert!(
            ended.stdout.starts_with("\u{1b}[H\u{1b}[J"),
            "{:?}",
            ended.stdout
        );
    }
}
