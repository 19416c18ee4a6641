//! Sends one request, follows redirects, and judges the headers of the answer.

use reqwest::header::{
    ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_RANGE, CONTENT_TYPE, DATE, ETAG, HeaderMap,
    HeaderName, HeaderValue, IF_RANGE, LOCATION, RANGE, RETRY_AFTER,
};
use reqwest::{Client, Response, StatusCode};
use tokio::time::timeout;
use url::Url;

use super::Fetcher;
use super::failure::{Failure, Next, Reason};
use crate::archive::content::Expected;
use crate::domain::egress::{RefusedUrl, UrlFault};
use crate::retry_after;

const REDIRECTS_MAX: u32 = 3;

/// An answer that has a file, or the rest of one.
pub(super) struct Answer {
    pub response: Response,
    /// The length of the whole file. `None` if the server does not say.
    pub bytes_total: Option<u64>,
    pub expected: Expected,
    /// The version of the file, if the server can send a part of it.
    etag: Option<HeaderValue>,
}

/// The rest of a file.
pub(super) struct Part {
    start: u64,
    bytes_total: u64,
    etag: HeaderValue,
}

impl Answer {
    /// Returns the request for the bytes after `start`. `None` if the server cannot send them, or
    /// cannot prove that they belong to the same file.
    pub fn rest_after(&self, start: u64) -> Option<Part> {
        Some(Part {
            start,
            bytes_total: self.bytes_total.filter(|total| start < *total)?,
            etag: self.etag.clone()?,
        })
    }
}

impl Fetcher {
    /// Requests the file at `url`, or a part of it.
    pub(super) async fn open(&self, url: &str, part: Option<&Part>) -> Result<Answer, Failure> {
        let guarded = self.guarded.load_full();
        let mut admitted = guarded.rules.judge(url)?;
        let mut redirects = 0;
        loop {
            let client = guarded.client(admitted.way);
            let response = self.send(client, &admitted.url, part).await?;
            if !is_redirect(response.status()) {
                return judged(response, part);
            }
            if redirects == REDIRECTS_MAX {
                return Err(Failure::give_up(Reason::TooManyRedirects));
            }
            redirects += 1;
            let target = target(&admitted.url, response.headers())?;
            admitted = guarded.rules.judge(&target)?;
        }
    }

    async fn send(
        &self,
        client: &Client,
        url: &Url,
        part: Option<&Part>,
    ) -> Result<Response, Failure> {
        let mut request = client.get(url.clone());
        if let Some(part) = part {
            request = request
                .header(RANGE, format!("bytes={}-", part.start))
                .header(IF_RANGE, part.etag.clone());
        }
        match timeout(self.bounds.answer_time_max, request.send()).await {
            Ok(answered) => answered.map_err(Failure::no_answer),
            Err(_) => Err(Failure::retry(Reason::Silent)),
        }
    }
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// Returns the text of the URL that a redirect leads to.
fn target(from: &Url, headers: &HeaderMap) -> Result<String, RefusedUrl> {
    let refuse = |what| RefusedUrl {
        target: from.host_str().unwrap_or_default().to_owned(),
        fault: UrlFault::Malformed(what),
    };
    let location = headers
        .get(LOCATION)
        .and_then(|location| location.to_str().ok())
        .ok_or_else(|| refuse("redirects without a usable Location"))?;
    // The URL parser would correct these silently, so the rules would not see them.
    if location.contains(|c: char| c.is_whitespace() || c.is_control() || c == '\\') {
        return Err(refuse(
            "redirects to a URL with a space, a control character or a backslash",
        ));
    }
    // An absolute URL is judged as it is written.
    if location.contains("://") && Url::parse(location).is_ok() {
        return Ok(location.to_owned());
    }
    match from.join(location) {
        Ok(url) => Ok(url.into()),
        Err(_) => Err(refuse("redirects to something that is not a URL")),
    }
}

fn judged(response: Response, part: Option<&Part>) -> Result<Answer, Failure> {
    let (status, headers) = (response.status(), response.headers());
    let is_expected = match part {
        // A server that sends everything again does not have the same file any more.
        Some(_) => status == StatusCode::PARTIAL_CONTENT || status == StatusCode::OK,
        None => status == StatusCode::OK,
    };
    if !is_expected {
        return Err(refused_status(status, headers));
    }
    if is_encoded(headers) {
        return Err(Failure::retry_few(Reason::Encoded));
    }
    let etag = strong_etag(headers);
    let bytes_total = match part {
        None => response.content_length(),
        Some(part) => {
            let is_rest = status == StatusCode::PARTIAL_CONTENT
                && etag.as_ref() == Some(&part.etag)
                && text(headers, &CONTENT_RANGE) == Some(part.content_range().as_str());
            if !is_rest {
                return Err(Failure::retry(Reason::NotTheRest));
            }
            Some(part.bytes_total)
        }
    };
    let has_ranges = text(headers, &ACCEPT_RANGES) != Some("none");
    Ok(Answer {
        bytes_total,
        expected: Expected::of(text(headers, &CONTENT_TYPE), response.url().path()),
        etag: etag.filter(|_| has_ranges),
        response,
    })
}

impl Part {
    fn content_range(&self) -> String {
        let Self {
            start, bytes_total, ..
        } = self;
        format!("bytes {start}-{}/{bytes_total}", bytes_total - 1)
    }
}

fn refused_status(status: StatusCode, headers: &HeaderMap) -> Failure {
    let next = match status {
        StatusCode::FORBIDDEN | StatusCode::NOT_FOUND | StatusCode::GONE => Next::FreshUrl,
        _ => Next::Retry {
            after: retry_after::parse(text(headers, &RETRY_AFTER), text(headers, &DATE)),
        },
    };
    let reason = Reason::Status(status);
    Failure { next, reason }
}

/// `aws-chunked` is how a file was uploaded to a bucket. Some servers send it back, or what is left
/// of it, although the body has no such form any more.
fn is_encoded(headers: &HeaderMap) -> bool {
    let plain = ["", "identity", "aws-chunked"];
    let is_plain = |coding: &str| {
        let mut all = plain.iter();
        all.any(|plain| coding.trim().eq_ignore_ascii_case(plain))
    };
    headers.get_all(CONTENT_ENCODING).iter().any(|encoding| {
        let codings = encoding.to_str().map(|text| text.split(','));
        !codings.is_ok_and(|mut codings| codings.all(is_plain))
    })
}

/// A weak `ETag` does not prove that the bytes are the same.
fn strong_etag(headers: &HeaderMap) -> Option<HeaderValue> {
    let etag = headers.get(ETAG)?;
    etag.as_bytes().starts_with(b"\"").then(|| etag.clone())
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}
