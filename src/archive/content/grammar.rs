//! The structure of each format, as far as it says where the file ends.

use super::Format;
use super::boxes::Boxes;
use super::step::{Step, Then, u32_be};

/// The state of the parser of a format: what the next bytes of the file are.
pub(super) enum Grammar {
    Png {
        is_started: bool,
    },
    Jpeg(Jpeg),
    Gif(Gif),
    Riff,
    /// MP4, MOV, M4A and AVIF.
    Boxes(Boxes),
    Ogg {
        is_in_table: bool,
    },
    Ebml {
        is_started: bool,
    },
    /// MP3, FLAC and PCM: their bytes do not show where the file ends.
    None,
}

#[derive(Clone, Copy)]
pub(super) enum Jpeg {
    Start,
    /// Two bytes: 0xFF and a code.
    Marker,
    /// The code of a marker, outside image data.
    Code,
    /// The code of a marker, or a byte that only looks like one, inside image data.
    CodeInData,
    Length {
        is_before_data: bool,
    },
}

#[derive(Clone, Copy)]
pub(super) enum Gif {
    Start,
    Block,
    ExtensionLabel,
    ImageDescriptor,
    SubBlock,
}

/// The bytes of the head of a page.
const OGG_PAGE_BYTES: usize = 27;
/// Enough for the name of an EBML element and its length.
const EBML_BYTES: usize = 12;

impl Grammar {
    /// Returns the grammar, and what to do first.
    pub fn new(format: Format) -> (Self, Then) {
        match format {
            Format::Png => (Self::Png { is_started: false }, Then::Read(8)),
            Format::Jpeg => (Self::Jpeg(Jpeg::Start), Then::Read(2)),
            Format::Gif => (Self::Gif(Gif::Start), Then::Read(13)),
            Format::WebP | Format::Wav => (Self::Riff, Then::Read(12)),
            Format::Avif => (Self::Boxes(Boxes::new(*b"meta")), Then::Read(8)),
            Format::Mp4 | Format::Mov | Format::M4a => {
                (Self::Boxes(Boxes::new(*b"moov")), Then::Read(8))
            }
            Format::Ogg => (Self::Ogg { is_in_table: false }, Then::Read(OGG_PAGE_BYTES)),
            Format::WebM => (Self::Ebml { is_started: false }, Then::Read(EBML_BYTES)),
            Format::Mp3 | Format::Flac | Format::Pcm => (Self::None, Then::Unknown),
        }
    }

    /// Whether the file may end between two steps.
    pub fn may_end(&self) -> bool {
        match self {
            Self::Boxes(boxes) => boxes.may_end(),
            Self::Ogg { is_in_table } => !is_in_table,
            _ => false,
        }
    }

    /// Returns the next step. `bytes` has the number of bytes that the last step asked for.
    pub fn next(&mut self, bytes: &[u8]) -> Step {
        let step = match self {
            Self::Png { is_started } => png(is_started, bytes),
            Self::Jpeg(state) => jpeg(state, bytes),
            Self::Gif(state) => gif(state, bytes),
            Self::Riff => riff(bytes),
            Self::Boxes(boxes) => boxes.next(bytes),
            Self::Ogg { is_in_table } => ogg(is_in_table, bytes),
            Self::Ebml { is_started } => ebml(is_started, bytes),
            Self::None => None,
        };
        step.unwrap_or_else(Step::unknown)
    }

    /// Whether `bytes`, which are too few for the next step, may follow the end. Some programs fill
    /// the last sector, or leave the end of a box list, with zeros.
    pub fn is_padding(&self, bytes: &[u8]) -> bool {
        matches!(self, Self::Boxes(_)) && bytes.iter().all(|byte| *byte == 0)
    }
}

/// Chunks: a length, a type, the data and a checksum. `IEND` is the last.
fn png(is_started: &mut bool, bytes: &[u8]) -> Option<Step> {
    if !std::mem::replace(is_started, true) {
        return Some(Step::read(8));
    }
    let data_and_checksum = u32_be(bytes)? + 4;
    let then = match bytes.get(4..8)? {
        b"IEND" => Then::End,
        _ => Then::Read(8),
    };
    Some(Step::skip(data_and_checksum, then))
}

/// Segments up to the image data, which has no length and ends at the next marker.
fn jpeg(state: &mut Jpeg, bytes: &[u8]) -> Option<Step> {
    let code = match *state {
        Jpeg::Start => {
            *state = Jpeg::Marker;
            return Some(Step::read(2));
        }
        Jpeg::Length { is_before_data } => {
            let length = bytes.split_first_chunk().map(|(length, _)| *length)?;
            let rest = u64::from(u16::from_be_bytes(length)).checked_sub(2)?;
            let (next, then) = if is_before_data {
                (Jpeg::CodeInData, Then::ReadAfterMarker)
            } else {
                (Jpeg::Marker, Then::Read(2))
            };
            *state = next;
            return Some(Step::skip(rest, then));
        }
        Jpeg::Marker if bytes.first() == Some(&0xff) => *bytes.get(1)?,
        Jpeg::Marker => return None,
        Jpeg::Code => *bytes.first()?,
        Jpeg::CodeInData => match *bytes.first()? {
            // A byte 0xFF of the data, or a restart marker: the data goes on.
            0x00 | 0xd0..=0xd7 => return Some(Step::skip(0, Then::ReadAfterMarker)),
            code => code,
        },
    };
    Some(match code {
        0xd9 => Step::end(),
        // A fill byte: the code follows.
        0xff => {
            if !matches!(state, Jpeg::CodeInData) {
                *state = Jpeg::Code;
            }
            Step::read(1)
        }
        // Markers without a length.
        0x01 | 0xd0..=0xd8 => {
            *state = Jpeg::Marker;
            Step::read(2)
        }
        code => {
            let is_before_data = code == 0xda;
            *state = Jpeg::Length { is_before_data };
            Step::read(2)
        }
    })
}

/// Blocks of sub-blocks. A sub-block of length 0 is the last one of its block.
fn gif(state: &mut Gif, bytes: &[u8]) -> Option<Step> {
    let table = |flags: u8| match flags & 0x80 {
        0 => 0,
        _ => 3 << ((flags & 7) + 1),
    };
    let first = *bytes.first()?;
    let (next, step) = match *state {
        Gif::Start => (
            Gif::Block,
            Step::skip(table(*bytes.get(10)?), Then::Read(1)),
        ),
        Gif::Block => match first {
            b';' => (Gif::Block, Step::end()),
            b'!' => (Gif::ExtensionLabel, Step::read(1)),
            b',' => (Gif::ImageDescriptor, Step::read(9)),
            _ => return None,
        },
        Gif::ExtensionLabel => (Gif::SubBlock, Step::read(1)),
        // The table is followed by one byte, the size of the codes.
        Gif::ImageDescriptor => (
            Gif::SubBlock,
            Step::skip(table(*bytes.get(8)?) + 1, Then::Read(1)),
        ),
        Gif::SubBlock if first == 0 => (Gif::Block, Step::read(1)),
        Gif::SubBlock => (Gif::SubBlock, Step::skip(first.into(), Then::Read(1))),
    };
    *state = next;
    Some(step)
}

/// A WAV that says that it is longer is not: its writer did not know the length.
const WAV_BYTES_MAX: u32 = 1 << 30;

/// One length for all. Programs that write a WAV to a pipe leave it at 0, or at some maximum.
fn riff(bytes: &[u8]) -> Option<Step> {
    let (length, _) = bytes.get(4..)?.split_first_chunk()?;
    let is_wav = bytes.ends_with(b"WAVE");
    match u32::from_le_bytes(*length) {
        0 | u32::MAX => None,
        length if is_wav && length > WAV_BYTES_MAX => None,
        // The length includes the four bytes after it, which are read already.
        length => Some(Step::skip(u64::from(length).checked_sub(4)?, Then::End)),
    }
}

/// Pages: a head, a table of lengths, and the data.
fn ogg(is_in_table: &mut bool, bytes: &[u8]) -> Option<Step> {
    if std::mem::replace(is_in_table, false) {
        let data = bytes.iter().map(|length| u64::from(*length)).sum();
        return Some(Step::skip(data, Then::Read(OGG_PAGE_BYTES)));
    }
    if !bytes.starts_with(b"OggS") {
        return None;
    }
    let lengths = usize::from(*bytes.get(26)?);
    *is_in_table = lengths > 0;
    Some(Step::read(if lengths > 0 {
        lengths
    } else {
        OGG_PAGE_BYTES
    }))
}

/// A header, and one segment with everything else. In a live recording, the segment has no length.
fn ebml(is_started: &mut bool, bytes: &[u8]) -> Option<Step> {
    let (name, rest) = bytes.split_first_chunk::<4>()?;
    let length_bytes = rest.first()?.leading_zeros() + 1;
    if length_bytes > 8 {
        return None;
    }
    let (length, _) = rest.split_first_chunk::<8>()?;
    let length = u64::from_be_bytes(*length) >> (64 - 8 * length_bytes);
    let length_bits = 7 * length_bytes;
    let is_unknown = length.trailing_ones() >= length_bits;
    let length = length & ((1 << length_bits) - 1);
    let all = u64::from(4 + length_bytes) + length;
    let left = all.checked_sub(EBML_BYTES as u64)?;
    if !std::mem::replace(is_started, true) {
        return Some(Step::skip(left, Then::Read(EBML_BYTES)));
    }
    let is_segment = *name == [0x18, 0x53, 0x80, 0x67];
    (is_segment && !is_unknown).then(|| Step::skip(left, Then::End))
}
