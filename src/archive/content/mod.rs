//! Judges by its bytes what a file is. Only raw PCM is known by what its server says. Nothing is
//! decoded or decompressed.
//!
//! The first bytes show the format and the dimensions, and a walk through the file's own structure
//! shows whether its end is missing. Bytes after that end are kept: a file is served as it came,
//! with a type that cannot be run.

mod boxes;
mod dimensions;
mod format;
mod grammar;
mod refused;
#[cfg(test)]
pub(in crate::archive) mod samples;
mod step;
#[cfg(test)]
mod tests;
mod walk;

pub use format::{Format, Media};
pub use refused::RefusedContent;

use dimensions::Size;
use walk::Walk;

/// Bytes from which the format and the dimensions are read. The dimensions of a JPEG come after its
/// metadata, such as a colour profile or a preview.
const HEAD_BYTES: usize = 256 * 1024;

/// Bytes from which the dimensions are read if the metadata is long. An upload to a bucket must
/// know the type before its first 5 MiB are written.
const HEAD_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The content types of raw PCM.
const PCM_TYPES: [&str; 4] = ["audio/pcm", "audio/x-pcm", "audio/l16", "audio/l24"];

/// The content of a whole file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Content {
    pub format: Format,
    /// `None` unless it is an image.
    pub dimensions: Option<Dimensions>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dimensions {
    pub width: u32,
    pub height: u32,
}

/// What the headers and the URL say about the format of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Expected {
    #[default]
    AnyFormat,
    /// Samples without any header, which nothing but the server can tell from other bytes.
    RawPcm,
}

impl Expected {
    /// Judges the header `Content-Type` and the path of the URL. RFC 2586 and RFC 3190 define L16
    /// and L24.
    pub fn of(content_type: Option<&str>, path: &str) -> Self {
        let said = content_type.and_then(|said| said.split(';').next());
        let said = said.unwrap_or_default().trim();
        let is_pcm = |name: &&str| said.eq_ignore_ascii_case(name);
        if PCM_TYPES.iter().any(is_pcm) || path.to_ascii_lowercase().ends_with(".pcm") {
            Self::RawPcm
        } else {
            Self::AnyFormat
        }
    }
}

/// Judges a file while it arrives.
pub struct Inspector {
    expected: Expected,
    pixels_max: u64,
    bytes: u64,
    stage: Stage,
}

enum Stage {
    /// The first bytes, until there are `wanted`.
    Head {
        bytes: Vec<u8>,
        wanted: usize,
    },
    Body(Content, Walk),
}

impl Inspector {
    pub fn new(expected: Expected, pixels_max: u64) -> Self {
        Self {
            expected,
            pixels_max,
            bytes: 0,
            stage: Stage::Head {
                bytes: Vec::new(),
                wanted: HEAD_BYTES,
            },
        }
    }

    /// The content, as soon as it is known.
    pub fn content(&self) -> Option<Content> {
        match &self.stage {
            Stage::Head { .. } => None,
            Stage::Body(content, _) => Some(*content),
        }
    }

    /// Takes the next bytes of the file.
    ///
    /// # Errors
    /// As soon as the file is known to be refused. The rest need not be fetched.
    pub fn feed(&mut self, chunk: &[u8]) -> Result<(), RefusedContent> {
        self.bytes += chunk.len() as u64;
        match &mut self.stage {
            Stage::Head { bytes, wanted } => {
                bytes.extend_from_slice(chunk);
                if bytes.len() >= *wanted {
                    self.judge_head(false)?;
                }
            }
            Stage::Body(_, walk) => walk.feed(chunk),
        }
        Ok(())
    }

    /// Judges the whole file, after its last byte.
    pub fn finish(mut self) -> Result<Content, RefusedContent> {
        if self.bytes == 0 {
            return Err(RefusedContent::Empty);
        }
        self.judge_head(true)?;
        match self.stage {
            Stage::Body(content, walk) if walk.is_whole() => Ok(content),
            Stage::Body(content, _) => Err(RefusedContent::Truncated {
                format: content.format,
                bytes: self.bytes,
            }),
            Stage::Head { .. } => Err(RefusedContent::Empty),
        }
    }

    /// Judges the first bytes. Does nothing if they were judged before. Waits for more if the
    /// dimensions come later.
    fn judge_head(&mut self, is_whole_file: bool) -> Result<(), RefusedContent> {
        let Stage::Head { bytes, wanted } = &mut self.stage else {
            return Ok(());
        };
        let format = Format::of(bytes, self.expected)?;
        let dimensions = match format.media() {
            Media::Video | Media::Audio => None,
            Media::Image => match Size::of(format, bytes) {
                Size::Known(width, height) => Some(judged(format, width, height, self.pixels_max)?),
                Size::NotYet if is_whole_file => {
                    return Err(RefusedContent::Truncated {
                        format,
                        bytes: self.bytes,
                    });
                }
                Size::NotYet if bytes.len() < HEAD_BYTES_MAX => {
                    *wanted = bytes.len() * 2;
                    return Ok(());
                }
                Size::NotYet | Size::Never => {
                    return Err(RefusedContent::NoDimensions { format });
                }
            },
        };
        let mut walk = Walk::new(format);
        walk.feed(bytes);
        self.stage = Stage::Body(Content { format, dimensions }, walk);
        Ok(())
    }
}

fn judged(
    format: Format,
    width: u64,
    height: u64,
    pixels_max: u64,
) -> Result<Dimensions, RefusedContent> {
    let (Ok(width), Ok(height)) = (u32::try_from(width), u32::try_from(height)) else {
        return Err(RefusedContent::NoDimensions { format });
    };
    if width == 0 || height == 0 {
        return Err(RefusedContent::NoPixels { format });
    }
    if u64::from(width) * u64::from(height) > pixels_max {
        return Err(RefusedContent::TooManyPixels {
            width,
            height,
            pixels_max,
        });
    }
    Ok(Dimensions { width, height })
}
