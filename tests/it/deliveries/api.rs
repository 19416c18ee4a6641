//! `GET /v1/deliveries`, `POST /v1/deliveries/{id}/retry` and `POST /v1/deliveries/retry` on a
//! complete receiver. Nothing listens at the addresses of its two endpoints.

use reqwest::Method;
use serde_json::Value;

use super::many::{DEAD, fill, ids, start};
use super::*;
use crate::support::app::TestApp;
use crate::support::process::command::{json as stdout_json, run};

async fn post(app: &TestApp, path: &str) -> (u16, Value) {
    let answer = app.request(Method::POST, path).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

/// All pages of a list, with four rows each.
async fn listed(app: &TestApp, filter: &str) -> Vec<i64> {
    let (mut found, mut cursor) = (Vec::new(), String::new());
    for _ in 0..20 {
        let (status, page) = app
            .get(&format!("/v1/deliveries?limit=4{filter}{cursor}"))
            .await;
        assert_eq!(status, 200, "{page}");
        found.extend(ids(&page));
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return found,
        }
    }
    panic!("{filter}: there is no end of pages");
}

#[tokio::test]
async fn a_delivery_is_shown_with_its_failed_attempts() {
    let app = start().await;
    let id = fill(&app, 1, DEAD).await[0];
    let database = app.database().await;
    // The forwarder may have tried it, too.
    let fail = format!(
        "DELETE FROM failed_attempt; INSERT INTO failed_attempt VALUES ({id}, 1, 1000, 503, 'busy'), ({id}, 2, 2000, NULL, 'reset')"
    );
    database.execute(&fail).await;
    let (status, shown) = app.get(&format!("/v1/deliveries/{id}")).await;
    let (_, listed) = app.get("/v1/deliveries").await;
    let mut wanted = listed["data"][0].clone();
    wanted["failed_attempts"] = json!([
        {"number": 1, "at": "1970-01-01T00:00:01.000Z", "status": 503, "error": "busy"},
        {"number": 2, "at": "1970-01-01T00:00:02.000Z", "status": null, "error": "reset"},
    ]);
    assert_eq!((status, shown), (200, wanted));
    let (status, absent) = app.get("/v1/deliveries/1").await;
    assert_eq!(
        (status, &absent["error"]["code"]),
        (404, &"delivery_not_found".into())
    );
    let (status, bad) = app.get("/v1/deliveries/x").await;
    assert_eq!((status, &bad["error"]["param"]), (400, &"id".into()));
    database.close().await;
    app.stop().await.0.unwrap();
}

#[tokio::test]
async fn deliveries_are_listed_newest_first_page_by_page_and_by_what_they_are() {
    let app = start().await;
    assert_eq!(
        app.get("/v1/deliveries").await,
        (200, json!({"data": [], "next": null}))
    );
    let all = fill(&app, 13, DEAD).await;
    assert_eq!(all.len(), 13);
    let database = app.database().await;
    let revive = "UPDATE delivery SET state = 'pending', ended_at = NULL, attempts = 0, due_at = made_at + 3600000
        WHERE task_seq % 3 = 0";
    database.execute(revive).await;
    let deliver = "UPDATE delivery SET state = 'delivered', last_status = 204, last_error = NULL WHERE task_seq % 3 = 1";
    database.execute(deliver).await;
    let of = async |what: &str| -> Vec<i64> {
        let sql = format!("SELECT id FROM delivery WHERE {what} ORDER BY id DESC");
        database.values(&sql, &[]).await
    };
    for (filter, wanted) in [
        ("", "1 = 1"),
        ("&state=pending", "state = 'pending'"),
        ("&state=held", "1 = 0"),
        ("&state=dead", "state = 'dead'"),
        ("&state=delivered", "state = 'delivered'"),
        ("&endpoint=billing", "1 = 1"),
        ("&endpoint=alarms", "1 = 0"),
        ("&endpoint=billing&state=pending", "state = 'pending'"),
        ("&endpoint=billing&state=dead", "state = 'dead'"),
        ("&endpoint=billing&state=delivered", "state = 'delivered'"),
        ("&endpoint=alarms&state=dead", "1 = 0"),
        ("&endpoint=http%3A%2F%2Fa", "1 = 0"),
        ("&task=task-4", "task_seq = 5"),
        ("&task=task-4&state=dead", "task_seq = 5 AND state = 'dead'"),
        ("&task=task-none", "1 = 0"),
    ] {
        assert_eq!(listed(&app, filter).await, of(wanted).await, "{filter}");
    }
    let (_, page) = app.get("/v1/deliveries?task=task-0").await;
    let submission = page["data"][0]["submission_id"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(
        listed(&app, &format!("&task={submission}")).await,
        ids(&page)
    );
}

#[tokio::test]
async fn pending_deliveries_of_an_endpoint_that_answers_410_are_shown_and_found_as_held() {
    let app = start().await;
    let plan = "UPDATE delivery SET due_at = made_at + 3600000";
    let all = fill(&app, 9, plan).await;
    let database = app.database().await;
    let own = format!(
        "INSERT INTO delivery (id, event_seq, task_seq, endpoint, url, state, attempts, due_at, made_at)
        SELECT id + 1, event_seq, task_seq, '{OWN_ORIGIN}', '{OWN}', 'pending', 0, due_at, made_at FROM delivery"
    );
    database.execute(&own).await;
    let of_own: Vec<i64> = all.iter().map(|id| id + 1).collect();
    let suspected = format!(
        "INSERT INTO endpoint_gone (name, delivery_id, at) VALUES ('billing', {}, 1)",
        all[0]
    );
    let disabled = "INSERT INTO endpoint (name, disabled_at, reason) VALUES ('billing', 1, '410')";
    for (make_gone, is_disabled) in [(suspected.as_str(), false), (disabled, true)] {
        database.execute("DELETE FROM endpoint_gone").await;
        database.execute(make_gone).await;
        for (filter, wanted) in [
            ("&state=held", &all),
            ("&state=held&endpoint=billing", &all),
            ("&state=held&endpoint=alarms", &Vec::new()),
            ("&state=pending", &of_own),
            ("&state=pending&endpoint=billing", &Vec::new()),
        ] {
            assert_eq!(&listed(&app, filter).await, wanted, "{make_gone} {filter}");
        }
        let (_, page) = app.get("/v1/deliveries?task=task-0&state=held").await;
        assert_eq!(ids(&page), all[8..], "{page}");
        let shown = &page["data"][0];
        assert_eq!(
            (&shown["state"], &shown["endpoint_disabled"]),
            (&json!("held"), &json!(is_disabled))
        );
        assert!(shown["due_at"].is_string(), "{shown}");
    }
    let held = run(&app, &["deliveries", "list", "--state", "held", "--json"]).await;
    assert_eq!(ids(&stdout_json(&held)), all);
}

#[tokio::test]
async fn a_delivery_is_shown_with_what_it_tells_of_and_without_the_query_of_an_apps_address() {
    let app = start().await;
    let id = fill(&app, 1, DEAD).await[0];
    let database = app.database().await;
    database
        .execute("INSERT INTO endpoint (name, disabled_at, reason) VALUES ('billing', 1, '410')")
        .await;
    let (_, page) = app.get("/v1/deliveries").await;
    let mut shown = page["data"][0].clone();
    for own in ["/submission_id", "/made_at", "/event/id"] {
        assert!(shown.pointer_mut(own).unwrap().take().is_string(), "{own}");
    }
    let wanted = json!({
        "id": id, "event": {"id": null, "seq": id / 1024, "type": "task.completed"}, "submission_id": null, "task_id": "task-0",
        "endpoint": "billing", "endpoint_disabled": true, "url": null, "state": "dead", "attempts": 10, "due_at": null,
        "last_status": 503, "last_error": "the endpoint answered 503", "made_at": null, "ended_at": "2025-09-06T13:23:53.000Z",
    });
    assert_eq!(shown, wanted);
    let own = format!(
        "INSERT INTO delivery (id, event_seq, task_seq, endpoint, url, state, attempts, due_at, made_at)
        SELECT id + 1, event_seq, task_seq, '{OWN_ORIGIN}', '{OWN}', 'pending', 0, made_at + 3600000, made_at FROM delivery"
    );
    database.execute(&own).await;
    let (_, page) = app.get("/v1/deliveries?limit=1").await;
    let shown = &page["data"][0];
    assert_eq!(shown["url"], "http://web.internal:8000/hook");
    assert_eq!(shown["endpoint_disabled"], false);
    assert!(
        shown["due_at"].as_str() > shown["made_at"].as_str(),
        "{shown}"
    );
    assert!(!page.to_string().contains("canary"), "{page}");
}

#[tokio::test]
async fn a_dead_delivery_is_retried_and_a_delivered_one_is_not() {
    let app = start().await;
    let id = fill(&app, 1, DEAD).await[0];
    let (status, delivery) = post(&app, &format!("/v1/deliveries/{id}/retry")).await;
    assert_eq!(
        (status, &delivery["id"], &delivery["ended_at"]),
        (200, &json!(id), &json!(null)),
        "{delivery}"
    );
    let database = app.database().await;
    database
        .execute(&DEAD.replace("'dead'", "'delivered'"))
        .await;
    let (status, body) = post(&app, &format!("/v1/deliveries/{id}/retry")).await;
    assert_eq!(
        (status, &body["error"]["code"]),
        (409, &json!("already_delivered")),
        "{body}"
    );
    let (status, body) = post(&app, &format!("/v1/deliveries/{}/retry", id + 1)).await;
    assert_eq!(
        (status, &body["error"]["code"]),
        (404, &json!("delivery_not_found")),
        "{body}"
    );
}

/// There are more dead deliveries than fit into one transaction.
#[tokio::test]
async fn all_dead_ones_are_retried_at_once_or_those_of_an_endpoint() {
    let app = start().await;
    fill(&app, 1, DEAD).await;
    let database = app.database().await;
    let numbers = "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 1000)";
    for endpoint in ["billing", "alarms", "alarms"] {
        let more = format!(
            "INSERT INTO delivery (id, event_seq, task_seq, endpoint, state, attempts, due_at, made_at, ended_at)
            {numbers} SELECT last + n * 1024, (last + n * 1024) / 1024, task_seq, '{endpoint}', 'dead', 3, 0, 0, 1
            FROM numbers, (SELECT max(id) AS last, max(task_seq) AS task_seq FROM delivery) AS newest"
        );
        database.execute(&more).await;
    }
    let retry = async |query: &str| post(&app, &format!("/v1/deliveries/retry{query}")).await;
    let retried = |retried: u32| {
        (
            200,
            json!({"retried": retried, "enabled": false, "more": false}),
        )
    };
    let (status, body) = retry("?endpoint=nobody").await;
    assert_eq!(
        (status, &body["error"]["code"], &body["error"]["param"]),
        (404, &json!("endpoint_not_found"), &json!("endpoint")),
        "{body}"
    );
    assert_eq!(retry(&format!("?endpoint={OWN_ORIGIN}")).await, retried(0));
    assert_eq!(retry("?endpoint=alarms&state=dead").await, retried(2000));
    assert_eq!(retry("").await, retried(1001));
    assert_eq!(retry("").await, retried(0));
    let (status, page) = app.get("/v1/deliveries?endpoint=nobody").await;
    assert_eq!(
        (status, &page["error"]["code"]),
        (404, &json!("endpoint_not_found"))
    );
    let (status, page) = app.get("/v1/deliveries?endpoint=alarms&state=dead").await;
    assert_eq!((status, ids(&page)), (200, Vec::new()), "{page}");
    let counted = |endpoint: &str| {
        let labels = format!("{{endpoint=\"{endpoint}\"}}");
        app.counter(&format!(
            "evolink_receiver_deliveries_revived_total{labels}"
        ))
    };
    assert_eq!(["alarms", "billing"].map(counted), [2000, 1001]);
}

#[tokio::test]
async fn b13_a_malformed_parameter_is_named() {
    let app = start().await;
    for (param, value) in [
        ("limit", "0"),
        ("cursor", "x"),
        ("cursor", "0"),
        ("state", ""),
        ("state", "Dead"),
        ("endpoint", ""),
        ("endpoint", "a%00"),
        ("task", ""),
        ("task", "a%20b"),
        ("status", "dead"),
    ] {
        let (status, body) = app.get(&format!("/v1/deliveries?{param}={value}")).await;
        assert_eq!(
            (status, &body["error"]["param"]),
            (400, &json!(param)),
            "{param}={value}: {body}"
        );
    }
    for (path, param) in [
        ("retry?state=pending", "state"),
        ("retry?endpoint=", "endpoint"),
        ("retry?limit=1", "limit"),
        ("x/retry", "id"),
        ("0/retry", "id"),
        ("01/retry", "id"),
        ("99999999999999999999/retry", "id"),
    ] {
        let (status, body) = post(&app, &format!("/v1/deliveries/{path}")).await;
        assert_eq!(
            (status, &body["error"]["param"]),
            (400, &json!(param)),
            "{path}: {body}"
        );
    }
    let answer = app
        .request(Method::GET, "/v1/deliveries/retry")
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status().as_u16(), 405);
}
