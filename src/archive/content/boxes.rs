//! The boxes of MP4, MOV, M4A and AVIF: each has a length and a type.

use super::step::{Step, Then, u32_be};

/// The bytes of a box's length and type, and of a large box's.
const BOX_BYTES: u64 = 8;
const LARGE_BOX_BYTES: u64 = 16;

/// The bytes of a version, before the boxes in the metadata of an AVIF.
const VERSION_BYTES: u64 = 4;

/// What has been seen of a file. Without both the box `needed` and the data, nothing can be shown.
pub(super) struct Boxes {
    needed: [u8; 4],
    has_needed: bool,
    has_data: bool,
    is_in_large: bool,
    /// The bytes that are left of the metadata of an AVIF, which may have the data in it.
    metadata_bytes: u64,
}

impl Boxes {
    pub fn new(needed: [u8; 4]) -> Self {
        Self {
            needed,
            has_needed: false,
            has_data: false,
            is_in_large: false,
            metadata_bytes: 0,
        }
    }

    pub fn may_end(&self) -> bool {
        let is_between = !self.is_in_large && self.metadata_bytes == 0;
        is_between && self.has_needed && self.has_data
    }

    /// `bytes` are the length and the type of a box. The length of a large box follows its type.
    pub fn next(&mut self, bytes: &[u8]) -> Option<Step> {
        if std::mem::replace(&mut self.is_in_large, false) {
            let (length, _) = bytes.split_first_chunk()?;
            let rest = u64::from_be_bytes(*length).checked_sub(LARGE_BOX_BYTES)?;
            return Some(Step::skip(rest, Then::Read(8)));
        }
        let (name, length) = (bytes.get(4..8)?, u32_be(bytes)?);
        if self.metadata_bytes > 0 {
            self.has_data |= name == b"idat";
            self.metadata_bytes = self.metadata_bytes.checked_sub(length)?;
            let rest = length.checked_sub(BOX_BYTES)?;
            return Some(Step::skip(rest, Then::Read(8)));
        }
        self.has_needed |= name == self.needed;
        self.has_data |= name == b"mdat";
        match length {
            // The last box, to the end of the file.
            0 => self.has_needed.then(Step::end),
            1 => {
                self.is_in_large = true;
                Some(Step::read(8))
            }
            length => {
                let rest = length.checked_sub(BOX_BYTES)?;
                if name == b"meta" && self.needed == *b"meta" && rest > VERSION_BYTES {
                    // The boxes in the metadata fill it to its end.
                    self.metadata_bytes = rest - VERSION_BYTES;
                    return Some(Step::skip(VERSION_BYTES, Then::Read(8)));
                }
                Some(Step::skip(rest, Then::Read(8)))
            }
        }
    }
}
