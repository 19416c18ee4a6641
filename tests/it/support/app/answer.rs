//! Answers of the internal listener, as an app gets them.

use http::HeaderMap;
use reqwest::Method;
use serde_json::Value;

use super::running::TestApp;
use crate::support::described::RequestBuilder;

/// One answer of the internal listener.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
    /// `null` if the answer is not JSON.
    pub body: Value,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Asserts that this is an error in EvoLink's envelope, with its request id.
    pub fn assert_error(&self, status: u16, code: &str, param: Option<&str>, why: &str) {
        let error = &self.body["error"];
        assert_eq!(self.status, status, "{why}: {self:?}");
        assert_eq!(error["code"], code, "{why}: {self:?}");
        assert_eq!(error["param"].as_str(), param, "{why}: {self:?}");
        assert!(
            error["message"].is_string() && error["type"].is_string(),
            "{why}: {self:?}"
        );
        assert!(self.header("x-request-id").is_some(), "{why}: {self:?}");
    }

    /// Asserts that this is the 504 for a submit of unknown outcome. Returns the submission id.
    pub fn assert_unknown(&self, why: &str) -> String {
        self.assert_error(504, "submit_outcome_unknown", None, why);
        let id = self.body["error"]["submission_id"].as_str().unwrap();
        assert_eq!(self.header("x-submission-id"), Some(id), "{why}");
        id.to_owned()
    }
}

pub async fn send(request: RequestBuilder) -> Answer {
    let answer = request.send().await.unwrap();
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    let text = answer.text().await.unwrap();
    let body = serde_json::from_str(&text).unwrap_or_default();
    Answer {
        status,
        headers,
        text,
        body,
    }
}

pub async fn get(app: &TestApp, path: &str) -> Answer {
    send(app.request(Method::GET, path)).await
}
