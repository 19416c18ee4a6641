//! With `internal.isolate_keys`, a decision for each route of the internal listener. A route that is
//! not in this table fails a test, so that nobody forgets to decide.

use std::collections::BTreeSet;

use evolink_receiver::http::internal::openapi::document;
use reqwest::Method;
use serde_json::json;

use super::isolated::started;
use super::submit;
use crate::support::app::TestApp;
use crate::support::app::answer::{Answer, send};

/// What a key without the scope `admin` gets of what belongs to another key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Decision {
    /// The answer about a foreign task equals the one about a task that does not exist.
    AsAbsent,
    /// The answer leaves foreign tasks out: see `isolated`.
    LeftOut,
    /// Only keys with the scope `admin` are admitted.
    AdminOnly,
    /// Nothing in it belongs to one key.
    Public,
    /// It makes something new, which belongs to the key.
    Creates,
}
use Decision::{AdminOnly, AsAbsent, Creates, LeftOut, Public};

const TABLE: [(&str, &str, Decision); 40] = [
    ("POST", "/v1/images/generations", Creates),
    ("POST", "/v1/videos/generations", Creates),
    ("POST", "/v1/audios/generations", Creates),
    ("GET", "/v1/tasks", LeftOut),
    ("GET", "/v1/tasks/{id}", AsAbsent),
    ("GET", "/v1/tasks/{id}/events", AsAbsent),
    ("GET", "/v1/events", LeftOut),
    ("GET", "/v1/events?task={id}", AsAbsent),
    ("POST", "/v1/tasks/{id}/results/{n}/link", AsAbsent),
    ("GET", "/v1/tasks/{id}/results/{n}", AsAbsent),
    // The account of the receiver, which all keys share.
    ("GET", "/v1/credits", Public),
    ("GET", "/v1/models", Public),
    ("POST", "/v1/agent-estimates", Public),
    ("POST", "/v1/tasks/batch", LeftOut),
    ("GET", "/v1/usage", LeftOut),
    ("GET", "/v1/status", AdminOnly),
    ("POST", "/v1/archive/retry", AdminOnly),
    ("POST", "/v1/archive/verify", AdminOnly),
    ("GET", "/v1/quarantine", AdminOnly),
    ("GET", "/v1/quarantine/{id}", AdminOnly),
    ("POST", "/v1/quarantine/{id}/replay", AdminOnly),
    ("GET", "/v1/deliveries", AdminOnly),
    ("POST", "/v1/deliveries/retry", AdminOnly),
    ("GET", "/v1/deliveries/{id}", AdminOnly),
    ("POST", "/v1/endpoints/{name}/test", AdminOnly),
    ("POST", "/v1/deliveries/{id}/retry", AdminOnly),
    ("GET", "/v1/catalog/models", Public),
    ("GET", "/v1/catalog/health", Public),
    ("GET", "/v1/catalog/pricing", Public),
    ("GET", "/v1/catalog/pricing-rules", Public),
    ("GET", "/v1/catalog/setup", Public),
    ("GET", "/v1/catalog/models/{id}/pricing-rules", Public),
    ("GET", "/livez", Public),
    ("GET", "/readyz", Public),
    ("GET", "/metrics", Public),
    ("GET", "/openapi.json", Public),
    ("GET", "/docs", Public),
    ("GET", "/docs/reference.js", Public),
    ("GET", "/docs/reference.css", Public),
    ("GET", "/v1/events (stream)", LeftOut),
];

#[test]
fn every_route_has_a_decision() {
    // Another test compares the description with the router.
    let routes = document()["paths"].as_object().unwrap().keys();
    let routes: BTreeSet<&str> = routes.map(String::as_str).collect();
    let decided = TABLE
        .iter()
        .map(|(_, path, _)| path.split(['?', ' ']).next().unwrap());
    assert_eq!(routes, decided.collect());
}

async fn ask(app: &TestApp, name: &str, method: &str, path: &str) -> Answer {
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    send(app.request(method, path).bearer_auth(name)).await
}

#[tokio::test]
async fn what_belongs_to_another_key_is_answered_like_what_does_not_exist() {
    let (app, _evolink) = started().await;
    let foreign = submit(&app, "batch", "[sim:never-ends,lost-callback]").await;
    let task_id = foreign.body["id"].as_str().unwrap();
    let submission_id = foreign.header("x-submission-id").unwrap();
    let absent = [
        "task-unified-1-absent",
        "0199b0a4-0000-7000-8000-000000000000",
    ];
    for (method, path, decision) in TABLE {
        let of = |id: &str| {
            path.replace("{id}", id)
                .replace("{n}", "0")
                .replace("{name}", "x")
        };
        match decision {
            AsAbsent => {
                for (foreign, absent) in [task_id, submission_id].into_iter().zip(absent) {
                    let to_admin = ask(&app, "root", method, &of(foreign)).await;
                    let foreign = ask(&app, "web", method, &of(foreign)).await;
                    let absent = ask(&app, "web", method, &of(absent)).await;
                    assert_eq!(
                        (foreign.status, &foreign.text),
                        (absent.status, &absent.text)
                    );
                    assert_eq!(foreign.status, 404, "{method} {path}: {foreign:?}");
                    assert_ne!(to_admin.text, foreign.text, "{method} {path}");
                }
            }
            AdminOnly => {
                let refused = ask(&app, "web", method, &of("1")).await;
                refused.assert_error(403, "permission_denied", None, path);
            }
            LeftOut | Public | Creates => {}
        }
    }
    let known = json!([task_id, submission_id]);
    for path in ["/v1/tasks", "/v1/tasks?page=1", "/v1/events", "/v1/usage"] {
        let shown = ask(&app, "web", "GET", path).await;
        assert_eq!(shown.status, 200, "{path}");
        for id in known.as_array().unwrap() {
            assert!(
                !shown.text.contains(id.as_str().unwrap()),
                "{path}: {shown:?}"
            );
        }
        assert!(!shown.text.contains("batch"), "{path}: {shown:?}");
    }
}
