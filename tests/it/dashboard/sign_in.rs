//! Signing in and out.

use evolink_receiver::config::Scope;

use super::{ALL_KEY, Browser, PAGES, READ_KEY, key, keys};
use crate::support::app::TestApp;

async fn started() -> TestApp {
    let builder = TestApp::builder().with(|config| config.internal.api_keys = keys());
    builder.start().await
}

#[tokio::test]
async fn a_stranger_is_led_to_the_sign_in_and_back_to_the_page() {
    let app = started().await;
    let mut browser = Browser::of(&app);
    for page in PAGES {
        let answer = browser.get(page).await;
        assert_eq!(answer.status, 303, "{page}");
        let to = answer.header("location").unwrap();
        assert!(to.starts_with("/sign-in?next=%2F"), "{to}");
    }
    assert_eq!(browser.get("/fragments/service").await.status, 401);
    assert_eq!(browser.get("/tasks/x/files/0").await.status, 303);
    let asked = browser.get("/sign-in?next=%2Ftrouble").await;
    assert!(
        asked.text.contains("name=\"next\" value=\"/trouble\""),
        "{}",
        asked.text
    );

    let wrong = browser.sign_in("erk_wrong", "/trouble").await;
    assert_eq!(wrong.status, 401);
    assert_eq!(wrong.header("set-cookie"), None);
    assert!(
        wrong.text.contains("does not know this key"),
        "{}",
        wrong.text
    );
    assert!(!wrong.text.contains("erk_wrong"), "the key is not repeated");

    let right = browser.sign_in(ALL_KEY, "/trouble?x=1").await;
    assert_eq!(
        (right.status, right.header("location")),
        (303, Some("/trouble?x=1"))
    );
    let cookie = right.header("set-cookie").unwrap();
    for attribute in ["HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=3600"] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
    assert!(
        !cookie.contains(ALL_KEY) && !cookie.contains("Secure"),
        "{cookie}"
    );
    browser.keep(&right);
    for page in PAGES {
        assert_eq!(browser.get(page).await.status, 200, "{page}");
    }
    assert_eq!(browser.get("/sign-in").await.status, 303, "it is signed in");

    let out = browser.post("/sign-out").await;
    assert_eq!(
        (out.status, out.header("location")),
        (303, Some("/sign-in"))
    );
    let cookie = out.header("set-cookie").unwrap();
    assert!(
        cookie.contains("session=;") && cookie.contains("Max-Age=0"),
        "{cookie}"
    );
    let elsewhere = browser.sign_in(ALL_KEY, "//evil.example").await;
    assert_eq!(elsewhere.header("location"), Some("/"));
    app.stop().await.0.unwrap();
}

#[tokio::test]
async fn a_session_survives_a_restart_and_ends_with_its_key() {
    let app = started().await;
    let mut browser = Browser::signed_in(&app, READ_KEY).await;
    let (ended, builder) = app.stop().await;
    ended.unwrap();
    let app = builder.clone().start().await;
    browser.origin = format!("http://{}", app.internal);
    assert_eq!(browser.get("/").await.status, 200);
    app.stop().await.0.unwrap();

    // The name and the scopes stay, and the key is another one.
    let replaced = key("reader", "erk_another", &[Scope::Read]);
    let builder = builder.with(|config| config.internal.api_keys[0] = replaced);
    let app = builder.clone().start().await;
    browser.origin = format!("http://{}", app.internal);
    assert_eq!(browser.get("/").await.status, 303);
    assert_eq!(browser.get("/v1/tasks").await.status, 401);
    let all = Browser::signed_in(&app, ALL_KEY).await;
    app.stop().await.0.unwrap();

    let builder = builder.with(|config| config.internal.api_keys[2].disabled = true);
    let app = builder.start().await;
    browser.origin = format!("http://{}", app.internal);
    browser.cookie = all.cookie;
    assert_eq!(browser.get("/").await.status, 303);
    assert_eq!(browser.sign_in(ALL_KEY, "/").await.status, 401);
    app.stop().await.0.unwrap();
}

#[tokio::test]
async fn behind_https_the_cookie_is_secure() {
    let builder = TestApp::builder().with(|config| {
        config.internal.api_keys = keys();
        config.internal.base_url = Some("https://receiver.example".parse().unwrap());
    });
    let app = builder.start().await;
    let browser = Browser::of(&app);
    let answer = browser.sign_in(READ_KEY, "/").await;
    let cookie = answer.header("set-cookie").unwrap();
    assert!(
        cookie.starts_with("__Host-") && cookie.contains("; Secure"),
        "{cookie}"
    );
    app.stop().await.0.unwrap();
}

#[tokio::test]
async fn without_keys_nobody_signs_in() {
    let app = TestApp::start().await;
    let browser = Browser::of(&app);
    let page = browser.get("/").await;
    assert_eq!(page.status, 200);
    assert!(!page.text.contains("Sign out"), "{}", page.text);
    assert_eq!(browser.get("/sign-in").await.status, 303);
    let answer = browser.sign_in("x", "/").await;
    assert_eq!((answer.status, answer.header("set-cookie")), (303, None));
    app.stop().await.0.unwrap();
}
