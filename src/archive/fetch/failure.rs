//! Why a file was not fetched, and what to do next.

use std::fmt;
use std::time::Duration;

use reqwest::StatusCode;

use crate::archive::content::{Media, RefusedContent};
use crate::archive::storage::StorageError;
use crate::domain::egress::RefusedUrl;
use crate::egress::{NoAnswer, cause};

/// A failed fetch. Nothing of the file is kept.
#[derive(Debug)]
pub struct Failure {
    pub next: Next,
    pub reason: Reason,
}

/// The next step after a failed fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The same URL, later. `after` is what the server asked for, within bounds.
    Retry { after: Option<Duration> },
    /// The same URL, later, but only a few times: three attempts in all. The fault passes soon or
    /// not at all.
    RetryFew,
    /// A fresh URL from EvoLink: this one has expired, or never existed.
    FreshUrl,
    /// Nothing. The same file would be refused again.
    GiveUp,
}

/// Why a fetch failed. The text shows neither the path nor the query of a URL.
#[derive(Debug)]
pub enum Reason {
    Url(RefusedUrl),
    TooManyRedirects,
    NoAnswer(NoAnswer),
    /// The headers did not arrive in time.
    Silent,
    Status(StatusCode),
    /// The body is compressed, although that was not asked for.
    Encoded,
    /// The answer to a request for the rest is not the rest of the same file.
    NotTheRest,
    /// The connection broke after `got` bytes.
    Broken {
        got: u64,
        total: Option<u64>,
        why: String,
    },
    TooLarge {
        /// `None` if it is larger than a file of any kind may be.
        media: Option<Media>,
        bytes_max: u64,
    },
    TooSlow,
    TookTooLong,
    Content(RefusedContent),
    Storage(StorageError),
}

impl Failure {
    pub(super) fn retry(reason: Reason) -> Self {
        let next = Next::Retry { after: None };
        Self { next, reason }
    }

    pub(super) fn retry_few(reason: Reason) -> Self {
        let next = Next::RetryFew;
        Self { next, reason }
    }

    pub(super) fn give_up(reason: Reason) -> Self {
        let next = Next::GiveUp;
        Self { next, reason }
    }

    /// The failure of a request that got no answer.
    pub(super) fn no_answer(error: reqwest::Error) -> Self {
        match cause::<RefusedUrl>(&error) {
            // The addresses of the name were refused. Its next look-up may have others.
            Some(refused) => Self::retry_few(Reason::Url(refused.clone())),
            None => Self::retry(Reason::NoAnswer(error.into())),
        }
    }

    /// Whether the same request may succeed in a moment.
    pub(super) fn is_brief(&self) -> bool {
        match &self.reason {
            Reason::NoAnswer(_) | Reason::Silent => true,
            Reason::Status(status) => {
                *status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error()
            }
            _ => false,
        }
    }
}

impl From<RefusedUrl> for Failure {
    fn from(refused: RefusedUrl) -> Self {
        Self::give_up(Reason::Url(refused))
    }
}

impl From<StorageError> for Failure {
    fn from(error: StorageError) -> Self {
        Self::retry(Reason::Storage(error))
    }
}

impl From<RefusedContent> for Failure {
    fn from(refused: RefusedContent) -> Self {
        let reason = Reason::Content(refused);
        match refused {
            // The server may have had only this much of the file, or the page of an error.
            RefusedContent::Truncated { .. }
            | RefusedContent::Empty
            | RefusedContent::Html
            | RefusedContent::Json
            | RefusedContent::Text
            | RefusedContent::Xml => Self::retry_few(reason),
            RefusedContent::Svg
            | RefusedContent::Unknown
            | RefusedContent::NoDimensions { .. }
            | RefusedContent::NoPixels { .. }
            | RefusedContent::TooManyPixels { .. } => Self::give_up(reason),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reason.fmt(f)
    }
}

impl std::error::Error for Failure {}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(refused) => refused.fmt(f),
            Self::TooManyRedirects => f.write_str("the server redirects more than 3 times"),
            Self::NoAnswer(no_answer) => no_answer.fmt(f),
            Self::Silent => f.write_str("timed out waiting for the answer"),
            Self::Status(status) => write!(f, "the server answered {}", status.as_u16()),
            Self::Encoded => f.write_str("the server compresses the file, which is not accepted"),
            Self::NotTheRest => {
                f.write_str("the transfer broke, and the server did not continue the same file")
            }
            Self::Broken {
                got,
                total: Some(total),
                why,
            } => write!(f, "the transfer broke after {got} of {total} bytes: {why}"),
            Self::Broken {
                got,
                total: None,
                why,
            } => write!(f, "the transfer broke after {got} bytes: {why}"),
            Self::TooLarge { media, bytes_max } => {
                let what = match media {
                    None => "file",
                    Some(Media::Image) => "image",
                    Some(Media::Audio) => "audio file",
                    Some(Media::Video) => "video",
                };
                write!(f, "the {what} has more than {bytes_max} bytes")
            }
            Self::TooSlow => f.write_str("the server sends too slowly"),
            Self::TookTooLong => f.write_str("the transfer took too long"),
            Self::Content(refused) => refused.fmt(f),
            Self::Storage(error) => error.fmt(f),
        }
    }
}
