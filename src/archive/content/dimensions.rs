//! Reads the width and the height of an image from its first bytes.

use std::io::ErrorKind;

use super::Format;

/// What the first bytes say about the size of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Size {
    Known(u64, u64),
    /// More bytes are needed.
    NotYet,
    /// No number of bytes would help.
    Never,
}

impl Size {
    pub fn of(format: Format, head: &[u8]) -> Self {
        if format == Format::Jpeg {
            return jpeg(head).unwrap_or(Self::NotYet);
        }
        match imagesize::blob_size(head) {
            Ok(size) => Self::Known(size.width as u64, size.height as u64),
            Err(imagesize::ImageError::IoError(error))
                if error.kind() == ErrorKind::UnexpectedEof =>
            {
                Self::NotYet
            }
            Err(_) => Self::Never,
        }
    }
}

/// Finds the frame header of a JPEG. The library's reader does not know fill bytes. `None` if more
/// bytes are needed.
fn jpeg(head: &[u8]) -> Option<Size> {
    let mut at = 2;
    loop {
        if *head.get(at)? != 0xff {
            return Some(Size::Never);
        }
        let code = *head.get(at + 1)?;
        match code {
            // A fill byte. The next byte is the 0xFF of the marker, or a fill byte too.
            0xff => at += 1,
            // Markers without a length.
            0x01 | 0xd0..=0xd8 => at += 2,
            // A frame: its length, its precision, its height, its width.
            0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf => {
                let height = u16_be(head, at + 5)?;
                let width = u16_be(head, at + 7)?;
                return Some(Size::Known(width, height));
            }
            // Image data, or the end, before any frame.
            0xd9 | 0xda => return Some(Size::Never),
            _ => {
                let length = u16_be(head, at + 2)?;
                if length < 2 {
                    return Some(Size::Never);
                }
                at += 2 + usize::try_from(length).unwrap_or(usize::MAX);
            }
        }
    }
}

fn u16_be(bytes: &[u8], at: usize) -> Option<u64> {
    let (number, _) = bytes.get(at..)?.split_first_chunk()?;
    Some(u16::from_be_bytes(*number).into())
}
