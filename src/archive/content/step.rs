//! The steps of a walk through a file, and how lengths are read.

/// A step: skip bytes, then do something.
pub(super) struct Step {
    pub skip_bytes: u64,
    pub then: Then,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// Pass this many bytes to the grammar. At least 1.
    Read(usize),
    /// Skip to the next byte 0xFF and over it, then pass one byte to the grammar.
    ReadAfterMarker,
    /// The file is whole. What follows is not looked at.
    End,
    /// The file does not follow the grammar, or has none.
    Unknown,
}

pub(super) fn u32_be(bytes: &[u8]) -> Option<u64> {
    let (number, _) = bytes.split_first_chunk()?;
    Some(u32::from_be_bytes(*number).into())
}
