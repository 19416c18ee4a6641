//! `/openapi.json` and `/docs` as a browser gets them.

use std::time::Duration;

use evolink_receiver::config::{ApiKey, KeyDigest, Scope};
use reqwest::Method;

use crate::support::app::TestApp;
use crate::support::app::answer::{get, send};

#[tokio::test]
async fn the_description_and_its_page_need_no_key_and_nothing_from_elsewhere() {
    let key = ApiKey::new("web", KeyDigest::of("key"), &[Scope::Read]);
    let app = TestApp::builder().with(|config| config.internal.api_keys = vec![key]);
    let app = app.start().await;
    let description = get(&app, "/openapi.json").await;
    assert_eq!(description.status, 200);
    assert_eq!(description.body["openapi"], "3.1.0");
    let etag = description.header("etag").unwrap();
    let again = app.request(Method::GET, "/openapi.json");
    let again = send(again.header("if-none-match", etag)).await;
    assert_eq!((again.status, &*again.text), (304, ""));

    let page = get(&app, "/docs").await;
    let policy = page.header("content-security-policy").unwrap();
    assert!(
        policy.starts_with("default-src 'none'; script-src 'self';"),
        "{policy}"
    );
    let mut bytes = 0;
    for path in ["/docs", "/docs/reference.js", "/docs/reference.css"] {
        let part = get(&app, path).await;
        assert_eq!(part.status, 200, "{path}");
        assert_eq!(part.header("x-content-type-options"), Some("nosniff"));
        for outside in [
            "http://",
            "https://",
            ": url(",
            "@import",
            "innerHTML",
            "style=",
        ] {
            assert!(!part.text.contains(outside), "{path}: {outside}");
        }
        bytes += part.text.len();
    }
    assert!(bytes < 40 * 1024, "the page has {bytes} bytes");
    assert!(description.text.len() < 200 * 1024);
    tokio::time::timeout(Duration::from_secs(20), app.stop())
        .await
        .unwrap()
        .0
        .unwrap();
}
