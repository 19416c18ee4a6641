//! Why the storage could not do something.

use std::io;

use rustix::io::Errno;

/// Shows no path of a file below the root and no URL with a signature.
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
    #[error("could not {doing} the bucket of the archive: {source}")]
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

    /// The error of opening a kept file.
    pub(super) fn opening(source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::NotFound => Self::NotFound,
            _ => Self::io("read from")(source),
        }
    }

    /// The error of a request to the bucket. If something was not found, it is the bucket.
    pub(super) fn bucket(doing: &'static str) -> impl Fn(object_store::Error) -> Self {
        move |source| Self::Bucket { doing, source }
    }

    /// The error of a request about one object, which may not exist.
    pub(super) fn object(doing: &'static str) -> impl Fn(object_store::Error) -> Self {
        move |source| match source {
            object_store::Error::NotFound { .. } => Self::NotFound,
            source => Self::Bucket { doing, source },
        }
    }
}
