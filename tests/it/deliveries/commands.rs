//! The commands `deliveries list` and `deliveries retry`.

use serde_json::json;

use super::many::{DEAD, fill, ids, start};
use crate::support::process::command::{json as stdout_json, run};

#[tokio::test]
async fn operators_list_and_retry_by_command() {
    let app = start().await;
    let none = run(&app, &["deliveries", "list"]).await;
    assert_eq!(
        (none.code, none.stdout.as_str()),
        (Some(0), "no deliveries\n")
    );
    let all = fill(&app, 5, DEAD).await;
    let page = run(
        &app,
        &["deliveries", "list", "--state", "dead", "--limit", "3"],
    )
    .await;
    let lines: Vec<&str> = page.stdout.lines().collect();
    assert_eq!(lines.len(), 6, "{}", page.stdout);
    assert!(
        lines[2].contains("billing") && lines[2].contains("task.completed"),
        "{}",
        page.stdout
    );
    let cursor = lines[5]
        .strip_prefix("there may be more: --cursor ")
        .unwrap();
    let rest = [
        "deliveries",
        "list",
        "--endpoint",
        "billing",
        "--json",
        "--cursor",
        cursor,
    ];
    assert_eq!(ids(&stdout_json(&run(&app, &rest).await)), all[3..]);

    let ended = run(
        &app,
        &[
            "deliveries",
            "retry",
            &all[0].to_string(),
            &all[1].to_string(),
        ],
    )
    .await;
    let line = |id| format!("{id}  pending  billing\n");
    assert_eq!(
        (ended.code, ended.stdout),
        (Some(0), line(all[0]) + &line(all[1])),
        "{}",
        ended.stderr
    );
    let none = run(
        &app,
        &["deliveries", "retry", "--all-dead", "--endpoint", "alarms"],
    )
    .await;
    assert_eq!(
        (none.code, none.stdout.as_str()),
        (Some(0), "0 to be sent again\n")
    );
    let ended = stdout_json(&run(&app, &["deliveries", "retry", "--all-dead", "--json"]).await);
    assert_eq!(
        ended,
        json!({"retried": 3, "enabled": false, "more": false})
    );
    let database = app.database().await;
    database
        .execute("INSERT INTO endpoint (name, disabled_at, reason) VALUES ('alarms', 1, '410')")
        .await;
    let enabled = ["deliveries", "retry", "--all-dead", "--endpoint", "alarms"];
    let enabled = run(&app, &enabled).await;
    let said =
        "0 to be sent again\nalarms is enabled: what was held for it is sent when it is due\n";
    assert_eq!((enabled.code, enabled.stdout.as_str()), (Some(0), said));

    let show = ["deliveries", "show", &all[0].to_string()];
    let attempt = format!(
        "INSERT INTO failed_attempt (delivery_id, number, at, status, error)
        VALUES ({}, 7, 1757165031000, 500, 'answered 500')",
        all[0]
    );
    database.execute(&attempt).await;
    let shown = run(&app, &show).await;
    assert_eq!(shown.code, Some(0), "{}", shown.stderr);
    let says = "\n      7  2025-09-06T13:23:51.000Z  500     answered 500\n";
    assert!(shown.stdout.contains(says), "{}", shown.stdout);
    assert!(
        shown.stdout.contains("endpoint    billing\n"),
        "{}",
        shown.stdout
    );

    app.database()
        .await
        .execute(&DEAD.replace("'dead'", "'delivered'"))
        .await;
    let delivered = all[0].to_string();
    for (args, says) in [
        (
            &["deliveries", "retry", &delivered][..],
            "409 already_delivered: ",
        ),
        (&["deliveries", "retry", "7"], "404 delivery_not_found: "),
        (&["deliveries", "show", "7"], "404 delivery_not_found: "),
        (&["deliveries", "retry"], "--all-dead"),
        (
            &["deliveries", "retry", "--all-dead", "--endpoint", "biling"],
            "404 endpoint_not_found: no endpoint `biling`",
        ),
        (
            &["deliveries", "list", "--endpoint", "biling"],
            "404 endpoint_not_found: no endpoint `biling`",
        ),
        (
            &["deliveries", "retry", "--endpoint", "billing", "7"],
            "cannot be used with",
        ),
        (
            &["deliveries", "retry", "--all-dead", "7"],
            "cannot be used with",
        ),
        (&["deliveries", "list", "--state", "x"], "(param: state)"),
    ] {
        let ended = run(&app, args).await;
        assert_eq!(ended.code, Some(64), "{args:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(says), "{args:?}: {}", ended.stderr);
    }
    app.stop().await.0.unwrap();
}
