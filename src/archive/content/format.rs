//! Recognises the format of a file by its first bytes.

use super::{Expected, RefusedContent};

/// Bytes that are looked at to tell text from other data.
const TEXT_BYTES: usize = 4096;

/// The formats that are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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
    /// Without any structure: only EvoLink's word says what it is.
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
/// documents, which would only be more code that reads hostile bytes. AVIF comes before the videos,
/// whose container it shares.
const MATCHERS: [(Format, Matcher); 14] = [
    (Format::Png, infer::image::is_png),
    (Format::Jpeg, infer::image::is_jpeg),
    (Format::WebP, infer::image::is_webp),
    (Format::Avif, infer::image::is_avif),
    (Format::Gif, infer::image::is_gif),
    (Format::Mp4, infer::video::is_mp4),
    (Format::Mp4, infer::video::is_m4v),
    (Format::Mp4, is_other_mp4),
    (Format::Mov, is_mov),
    (Format::WebM, infer::video::is_webm),
    (Format::Wav, infer::audio::is_wav),
    (Format::Ogg, infer::audio::is_ogg),
    (Format::Flac, infer::audio::is_flac),
    (Format::Mp3, infer::audio::is_mp3),
];

impl Format {
    pub(super) fn of(head: &[u8], expected: Expected) -> Result<Self, RefusedContent> {
        let found = MATCHERS.iter().find(|(_, matches)| matches(head));
        if let Some((format, _)) = found {
            return Ok(*format);
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
            Self::Mp3 | Self::Wav | Self::Ogg | Self::Flac | Self::Pcm => Media::Audio,
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
            Self::Pcm => "audio/pcm",
        }
    }

    /// The end of a file name, without its dot.
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
            Self::Pcm => "pcm",
        }
    }
}

/// An MP4 whose main brand is newer than the library, but which says that it is compatible with an
/// older one.
fn is_other_mp4(head: &[u8]) -> bool {
    let Some((length, rest)) = head.split_first_chunk::<4>() else {
        return false;
    };
    let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
    if !rest.starts_with(b"ftyp") || rest.starts_with(b"ftypqt  ") {
        return false;
    }
    let brands = head.get(16..length.min(head.len())).unwrap_or_default();
    let brands = brands.chunks_exact(4);
    let known: [&[u8]; 6] = [b"isom", b"iso2", b"iso4", b"iso5", b"mp41", b"mp42"];
    brands.into_iter().any(|brand| known.contains(&brand))
}

/// Stricter than the library's, which also takes any file with `mdat` at two places.
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
