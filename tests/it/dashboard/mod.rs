//! The dashboard, as a browser receives it: its pages, its sessions, and what it may load.

mod assets;
mod hostile;
mod pages;
mod scopes;
mod sign_in;

use evolink_receiver::config::{ApiKey, KeyDigest, Scope};
use reqwest::Method;
use reqwest::redirect::Policy;

use crate::support::app::TestApp;
use crate::support::app::answer::{Answer, send};
use crate::support::described::{self, Client, RequestBuilder};

/// The pages without a parameter.
const PAGES: [&str; 4] = ["/", "/health", "/trouble", "/try"];

const READ_KEY: &str = "erk_dashboard-reader-0123456789ab";
const SUBMIT_KEY: &str = "erk_dashboard-submit-0123456789ab";
const ALL_KEY: &str = "erk_dashboard-all-scopes-01234567";

fn key(name: &str, key: &str, scopes: &[Scope]) -> ApiKey {
    ApiKey::new(name, KeyDigest::of(key), scopes)
}

fn keys() -> Vec<ApiKey> {
    vec![
        key("reader", READ_KEY, &[Scope::Read]),
        key("submits", SUBMIT_KEY, &[Scope::Submit]),
        key("all", ALL_KEY, Scope::ALL),
    ]
}

/// A browser: it sends the cookie of its session, and follows no redirect by itself.
struct Browser {
    http: Client,
    origin: String,
    cookie: Option<String>,
}

impl Browser {
    fn of(app: &TestApp) -> Self {
        let http = reqwest::Client::builder()
            .redirect(Policy::none())
            .no_proxy();
        Self {
            http: described::client(http.build().unwrap()),
            origin: format!("http://{}", app.internal),
            cookie: None,
        }
    }

    async fn signed_in(app: &TestApp, key: &str) -> Self {
        let mut browser = Self::of(app);
        let answer = browser.sign_in(key, "/").await;
        assert_eq!(answer.status, 303, "{answer:?}");
        browser.keep(&answer);
        browser
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.origin));
        match &self.cookie {
            Some(cookie) => request.header("cookie", cookie),
            None => request,
        }
    }

    async fn get(&self, path: &str) -> Answer {
        send(self.request(Method::GET, path)).await
    }

    /// Sends what a page of ours sends when a button is pressed.
    async fn post(&self, path: &str) -> Answer {
        let request = self.request(Method::POST, path);
        send(request.header("origin", &self.origin)).await
    }

    async fn sign_in(&self, key: &str, next: &str) -> Answer {
        let form = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("key", key)
            .append_pair("next", next)
            .finish();
        let request = self.request(Method::POST, "/sign-in");
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        send(request.header("origin", &self.origin).body(form)).await
    }

    /// Stores the cookie of an answer.
    fn keep(&mut self, answer: &Answer) {
        let cookie = answer.header("set-cookie").unwrap();
        self.cookie = Some(cookie.split(';').next().unwrap().to_owned());
    }
}
