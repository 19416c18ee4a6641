//! Parameters that are repeated, as some clients write lists.

use reqwest::Method;

use crate::support::app::TestApp;
use crate::support::app::answer::{get, send};

#[tokio::test]
async fn a_parameter_that_is_no_list_must_not_be_repeated() {
    let app = TestApp::builder()
        .with(|config| config.archive.enabled = true)
        .start()
        .await;
    for (path, parameters) in [
        (
            "/v1/tasks",
            &["status=failed", "client=a", "created_after=1", "limit=1"][..],
        ),
        ("/v1/tasks/task-1", &["wait=0", "for=finished"]),
        ("/v1/events", &["after=0", "limit=1", "task=task-1"]),
        (
            "/v1/deliveries",
            &[
                "state=dead",
                "endpoint=a",
                "task=task-1",
                "limit=1",
                "cursor=1",
            ],
        ),
        ("/v1/quarantine", &["subject=~a", "limit=1", "cursor=1"]),
    ] {
        for parameter in parameters {
            let name = parameter.split('=').next();
            let twice = format!("{path}?{parameter}&{parameter}");
            let refused = get(&app, &twice).await;
            refused.assert_error(400, "invalid_request", name, &twice);
        }
    }
    for (path, parameters) in [
        ("/v1/deliveries/retry", &["state=dead", "endpoint=a"][..]),
        ("/v1/archive/retry", &["task=task-1"]),
        ("/v1/archive/verify", &["cursor=1"]),
    ] {
        for parameter in parameters {
            let name = parameter.split('=').next();
            let twice = format!("{path}?{parameter}&{parameter}");
            let refused = send(app.request(Method::POST, &twice)).await;
            refused.assert_error(400, "invalid_request", name, &twice);
        }
    }
    app.stop().await.0.unwrap();
}
