//! Signed links, which need no API key.

use std::time::Duration;

use evolink_receiver::config::{ApiKey, KeyDigest, Scope};
use reqwest::Method;

use super::{archiving, complete};
use crate::support::app::answer::send;
use crate::support::files::{Given, Origin, png};

const KEY: &str = "evr_a-key-of-the-archive-tests";

#[tokio::test]
async fn a_link_opens_one_file_without_a_key_until_it_expires() {
    let file = png(1, 100);
    let given = file.clone();
    let origin = Origin::start(move |_| Given::File(given.clone())).await;
    let builder = archiving().with_manual_clock().with(|config| {
        config.internal.api_keys = vec![ApiKey::new("web", KeyDigest::of(KEY), &[Scope::Read])];
    });
    let app = builder.start().await;
    complete(
        &app,
        "web",
        "task-1",
        &[origin.url("a.png"), origin.url("b.png")],
    )
    .await;
    let path = "/v1/tasks/task-1/results/0";
    let asked = send(app.request(Method::GET, path)).await;
    asked.assert_error(401, "unauthorized", None, "without a key");
    let made = send(app.request(Method::POST, &format!("{path}/link"))).await;
    made.assert_error(401, "unauthorized", None, "a link without a key");
    let made = send(
        app.request(Method::POST, &format!("{path}/link"))
            .bearer_auth(KEY),
    )
    .await;
    assert_eq!(made.status, 200, "{made:?}");
    let link = made.body["url"].as_str().unwrap().to_owned();
    assert!(made.body["expires_at"].is_string());

    let opened = app.http.get(&link).send().await.unwrap();
    assert_eq!(opened.status(), 200);
    assert_eq!(opened.bytes().await.unwrap(), file);
    for (changed, why) in [
        (link.replace("results/0", "results/1"), "another file"),
        (link.replace("expires=1", "expires=2"), "a later time"),
        (format!("{link}x"), "another signature"),
        (link.replace("signature=", "signature=x."), "another key"),
    ] {
        assert_ne!(changed, link, "{why}");
        let refused = send(app.http.get(&changed)).await;
        refused.assert_error(403, "invalid_link", None, why);
    }
    app.clock.advance(Duration::from_secs(3599));
    assert_eq!(app.http.get(&link).send().await.unwrap().status(), 200);
    app.clock.advance(Duration::from_secs(2));
    let expired = send(app.http.get(&link)).await;
    expired.assert_error(403, "invalid_link", None, "an hour later");
    app.stop().await.0.unwrap();
}
