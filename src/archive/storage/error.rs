//! Why the storage could not do something.

use std::error::Error;
use std::{io, iter};

use rustix::io::Errno;

/// The maximum length of a reason, in characters. A server may answer with a whole page.
const WHY_CHARS_MAX: usize = 300;

/// An error of the storage. Its text shows no path below the root and no signed URL.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    #[error("the storage has no such file")]
    NotFound,
    #[error("the range is outside the file, which has {bytes_total} bytes")]
    RangeOutside { bytes_total: u64 },
    #[error("the storage is full")]
    Full,
    #[error("the storage returned other bytes than were written")]
    Damaged,
    #[error("could not {doing} the folder of the archive: {source}")]
    Folder {
        doing: &'static str,
        source: io::Error,
    },
    #[error("could not {doing} the bucket of the archive: {}", why(source))]
    Bucket {
        doing: &'static str,
        source: object_store::Error,
    },
}

impl StorageError {
    /// The error of a file operation. `doing` is for example `write to`.
    pub(super) fn io(doing: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| {
            let errno = source.raw_os_error();
            let is = |error: Errno| errno == Some(error.raw_os_error());
            if is(Errno::NOSPC) || is(Errno::DQUOT) {
                Self::Full
            } else {
                Self::Folder { doing, source }
            }
        }
    }

    /// The error of a request to the bucket. If something was not found, it is the bucket.
    pub(super) fn bucket(doing: &'static str) -> impl Fn(object_store::Error) -> Self {
        move |source| Self::Bucket { doing, source }
    }

    /// The error of a request about one object, which may not exist.
    pub(super) fn object(doing: &'static str) -> impl Fn(object_store::Error) -> Self {
        move |source| match source {
            object_store::Error::NotFound { .. } if !says(&source, "NoSuchBucket") => {
                Self::NotFound
            }
            source => Self::Bucket { doing, source },
        }
    }
}

/// Whether the server's answer has this code.
pub(super) fn says(error: &object_store::Error, code: &str) -> bool {
    innermost(error).contains(code)
}

/// Returns the reason in one line: the server's code and message, or the innermost cause.
fn why(error: &object_store::Error) -> String {
    let text = innermost(error);
    let said = |tag: &str| {
        let (_, after) = text.split_once(&format!("<{tag}>"))?;
        Some(after.split_once("</")?.0)
    };
    let why = match (said("Code"), said("Message")) {
        (Some(code), Some(message)) => format!("the server answered {code}: {message}"),
        (Some(code), None) => format!("the server answered {code}"),
        (None, _) => text,
    };
    let words: Vec<_> = why.split_whitespace().collect();
    words.join(" ").chars().take(WHY_CHARS_MAX).collect()
}

/// The text of the innermost cause. That of a server's answer has a private type, and its text ends
/// with the body.
fn innermost(error: &object_store::Error) -> String {
    let first: &(dyn Error + 'static) = error;
    let causes = iter::successors(Some(first), |cause| (*cause).source());
    causes.last().map(ToString::to_string).unwrap_or_default()
}
