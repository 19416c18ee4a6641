//! A file that the storage keeps.

use crate::archive::Digest;

/// A file that is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    pub sha256: Digest,
    pub bytes: u64,
}
