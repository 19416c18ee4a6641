//! The HTTP client of the tests. It compares every JSON answer of the internal listener with the
//! API's description, whatever the test itself looks at.

mod judge;

use http::Extensions;
use reqwest::{Request, Response, header};
use reqwest_middleware::{ClientBuilder, Middleware, Next, Result};
pub use reqwest_middleware::{ClientWithMiddleware as Client, RequestBuilder};

pub use judge::{Answered, assert_described};

/// A client that fails its test at the first answer that differs from the description.
pub fn client(inner: reqwest::Client) -> Client {
    ClientBuilder::new(inner).with(Comparing).build()
}

struct Comparing;

#[async_trait::async_trait]
impl Middleware for Comparing {
    async fn handle(
        &self,
        request: Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> Result<Response> {
        let (method, path) = (request.method().clone(), request.url().path().to_owned());
        let response = next.run(request, extensions).await?;
        let is_json = response
            .headers()
            .get(header::CONTENT_TYPE)
            .is_some_and(|value| value == "application/json");
        // Only the internal listener sets it.
        let is_ours = response.headers().contains_key("x-request-id");
        if !is_json || !is_ours || method == reqwest::Method::HEAD {
            return Ok(response);
        }
        let (status, headers) = (response.status(), response.headers().clone());
        let body = response.bytes().await?;
        assert_described(&Answered {
            method: method.as_str(),
            path: &path,
            status: status.as_u16(),
            is_about_submission: headers.contains_key("x-submission-id"),
            body: &body,
        });
        let mut again = http::Response::new(body);
        *again.status_mut() = status;
        *again.headers_mut() = headers;
        Ok(again.into())
    }
}
