//! `GET /v1/usage`: each key sees its own use and limits, and `admin` those of all.

use evolink_receiver::config::Scope;
use serde_json::json;

use super::{get, key, started, submit};
use crate::support::app::TestApp;
use crate::support::app::answer;

#[tokio::test]
async fn a_key_sees_its_own_use_and_an_admin_sees_all() {
    let web = key("web", |key| {
        key.scopes = vec![Scope::Submit];
        key.max_waiting = Some(7);
        key.daily_credits = Some(2.5);
    });
    let admin = key("root", |key| key.scopes = vec![Scope::Admin]);
    let (app, _evolink) = started(vec![web, key("batch", |_| {}), admin]).await;
    assert_eq!(submit(&app, "web", "[sim:never-ends]").await.status, 200);
    let own = get(&app, "web", "/v1/usage").await;
    assert_eq!(own.status, 200, "{own:?}");
    let expected = json!({
        "submits_per_second": null, "max_waiting": 7, "daily_submits": null,
        "daily_credits": 2.5, "expires_at": null, "disabled": false,
    });
    assert_eq!(own.body["data"].as_array().unwrap().len(), 1);
    assert_eq!(own.body["data"][0]["limits"], expected);
    assert_eq!(own.body["data"][0]["submits"], 1);
    assert_eq!(own.body["day_began_at"], "2025-09-06T00:00:00.000Z");
    assert_eq!(own.body["day_ends_at"], "2025-09-07T00:00:00.000Z");
    let all = get(&app, "root", "/v1/usage").await;
    let all = all.body["data"].as_array().unwrap();
    let all: Vec<_> = all
        .iter()
        .map(|one| (&one["client"], &one["submits"]))
        .collect();
    let (batch, root, web) = (json!("batch"), json!("root"), json!("web"));
    let (none, one) = (json!(0), json!(1));
    assert_eq!(all, [(&batch, &none), (&root, &none), (&web, &one)]);
    get(&app, "nobody", "/v1/usage")
        .await
        .assert_error(401, "unauthorized", None, "no key");
}

#[tokio::test]
async fn without_keys_the_use_of_all_is_one() {
    let app = TestApp::start().await;
    let usage = answer::get(&app, "/v1/usage").await;
    assert_eq!((usage.status, &usage.body["data"]), (200, &json!([])));
}
