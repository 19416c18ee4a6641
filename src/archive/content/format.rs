//! Recognises the format of a file by its first bytes.

use super::{Expected, RefusedContent};
use strum::VariantArray;

/// The number of first bytes that are examined to distinguish text from other data.
const TEXT_BYTES: usize = 4096;

/// The formats that are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, VariantArray)]
pub enum Format {
    Png,
    Jpeg,
    WebP,
    Avif,
    Gif,
    Mp4,
    Mov,
    WebM,
    Mp3,
    Wav,
    Ogg,
    Flac,
    /// An MP4 with audio alone.
    M4a,
    /// Raw samples without any structure. Accepted only if the server declares them.
    Pcm,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Media {
    Image,
    Video,
    Audio,
}

type Matcher = fn(&[u8]) -> bool;

/// Only the matchers of our formats are asked. The library has many more, for archives and
/// documents, which would only be more code that reads hostile bytes. AVIF and M4A come before the
/// videos, whose container they share.
const MATCHERS: [(Format, Matcher); 14] = [
    (Format::Png, infer::image::is_png),
    (Format::Jpeg, infer::image::is_jpeg),
    (Format::WebP, infer::image::is_webp),
    (Format::Avif, infer::image::is_avif),
    (Format::Gif, infer::image::is_gif),
    (Format::M4a, is_m4a),
    (Format::Mp4, infer::video::is_mp4),
    (Format::Mp4, infer::video::is_m4v),
    (Format::Mp4, is_other_mp4),
    (Format::Mov, is_mov),
    (Format::WebM, infer::video::is_webm),
    (Format::Wav, infer::audio::is_wav),
    (Format::Ogg, infer::audio::is_ogg),
    (Format::Flac, infer::audio::is_flac),
];

/// The brands of MP4 files, of their fragments, and of the codecs in them.
const MP4_BRANDS: [&[u8; 4]; 18] = [
    b"isom", b"iso2", b"iso3", b"iso4", b"iso5", b"iso6", b"iso7", b"iso8", b"iso9", b"mp41",
    b"mp42", b"mp71", b"cmfc", b"cmf2", b"avc1", b"hvc1", b"hev1", b"av01",
];
/// Images in the same container, of formats that are not kept.
const OTHER_BRANDS: [&[u8; 4]; 7] = [
    b"heic", b"heix", b"hevc", b"hevx", b"mif1", b"mif2", b"msf1",
];

impl Format {
    pub(super) fn of(head: &[u8], expected: Expected) -> Result<Self, RefusedContent> {
        let found = MATCHERS.iter().find(|(_, matches)| matches(head));
        if let Some((format, _)) = found {
            return Ok(*format);
        }
        if is_mp3(head, expected) {
            return Ok(Self::Mp3);
        }
        if let Some(refused) = text(head) {
            return Err(refused);
        }
        match expected {
            Expected::RawPcm => Ok(Self::Pcm),
            Expected::AnyFormat => Err(RefusedContent::Unknown),
        }
    }

    pub const fn media(self) -> Media {
        match self {
            Self::Png | Self::Jpeg | Self::WebP | Self::Avif | Self::Gif => Media::Image,
            Self::Mp4 | Self::Mov | Self::WebM => Media::Video,
            Self::Mp3 | Self::Wav | Self::Ogg | Self::Flac | Self::M4a | Self::Pcm => Media::Audio,
        }
    }

    /// The value of `Content-Type`.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Png => "image/png",
            Self::Jpeg => "image/jpeg",
            Self::WebP => "image/webp",
            Self::Avif => "image/avif",
            Self::Gif => "image/gif",
            Self::Mp4 => "video/mp4",
            Self::Mov => "video/quicktime",
            Self::WebM => "video/webm",
            Self::Mp3 => "audio/mpeg",
            Self::Wav => "audio/wav",
            Self::Ogg => "audio/ogg",
            Self::Flac => "audio/flac",
            Self::M4a => "audio/mp4",
            Self::Pcm => "audio/pcm",
        }
    }

    /// The format with this content type.
    pub fn of_content_type(content_type: &str) -> Option<Self> {
        let mut formats = Self::VARIANTS.iter().copied();
        formats.find(|format| format.content_type() == content_type)
    }

    /// The extension of a file name, without the dot.
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Jpeg => "jpg",
            Self::WebP => "webp",
            Self::Avif => "avif",
            Self::Gif => "gif",
            Self::Mp4 => "mp4",
            Self::Mov => "mov",
            Self::WebM => "webm",
            Self::Mp3 => "mp3",
            Self::Wav => "wav",
            Self::Ogg => "ogg",
            Self::Flac => "flac",
            Self::M4a => "m4a",
            Self::Pcm => "pcm",
        }
    }
}

/// Returns the main brand of a file of boxes, and the brands that it says it is compatible with.
fn brands(head: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, _) = head.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
    if head.get(4..8)? != b"ftyp" {
        return None;
    }
    let compatible = head.get(16..length.min(head.len())).unwrap_or_default();
    Some((head.get(8..12)?, compatible))
}

/// An MP4 with a brand that the library does not know.
fn is_other_mp4(head: &[u8]) -> bool {
    let Some((main, compatible)) = brands(head) else {
        return false;
    };
    let known = |brand: &[u8]| MP4_BRANDS.iter().any(|known| brand == *known);
    let is_other = main == b"qt  " || OTHER_BRANDS.iter().any(|other| main == *other);
    !is_other && (known(main) || compatible.chunks_exact(4).any(known))
}

fn is_m4a(head: &[u8]) -> bool {
    brands(head).is_some_and(|(main, _)| main == b"M4A " || main == b"M4B ")
}

/// A tag, or the header of a first frame: MPEG 1, 2 or 2.5, layer III. Samples of raw PCM may look
/// like the header of a frame.
fn is_mp3(head: &[u8], expected: Expected) -> bool {
    match head {
        [b'I', b'D', b'3', ..] => true,
        [0xff, second, third, ..] if expected == Expected::AnyFormat => {
            let is_layer_3 = matches!(second, 0xfa | 0xfb | 0xf2 | 0xf3 | 0xe2 | 0xe3);
            let (bitrate, sample_rate) = (third >> 4, third >> 2 & 3);
            is_layer_3 && bitrate != 15 && sample_rate != 3
        }
        _ => false,
    }
}

/// Whether the file is a MOV. Stricter than the library's matcher, which also accepts any file that
/// has `mdat` at one of two offsets.
fn is_mov(head: &[u8]) -> bool {
    let kind = head.get(4..8).unwrap_or_default();
    match kind {
        b"ftyp" => head[8..].starts_with(b"qt  "),
        // Old files begin without a type.
        b"moov" | b"mdat" | b"wide" => true,
        _ => false,
    }
}

/// Recognises text: what a server sends instead of a file, or what a browser would run.
fn text(head: &[u8]) -> Option<RefusedContent> {
    let head = &head[..head.len().min(TEXT_BYTES)];
    let head = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head);
    let is_text = |byte: &u8| *byte >= b' ' || b"\t\n\r\x0c".contains(byte);
    if !head.iter().all(is_text) {
        return None;
    }
    let is_utf8 = match std::str::from_utf8(head) {
        Ok(_) => true,
        // The last character may be cut.
        Err(error) => error.error_len().is_none(),
    };
    if !is_utf8 {
        return None;
    }
    let text = String::from_utf8_lossy(head).to_ascii_lowercase();
    let text = text.trim_start();
    let has = |tag: &str| text.contains(tag);
    Some(match text.bytes().next() {
        Some(b'<') if has("<html") || has("<!doctype html") || has("<body") => RefusedContent::Html,
        Some(b'<') if has("<svg") => RefusedContent::Svg,
        Some(b'<') if has("<?xml") => RefusedContent::Xml,
        Some(b'<') => RefusedContent::Html,
        Some(b'{' | b'[') => RefusedContent::Json,
        _ => RefusedContent::Text,
    })
}
