//! What a file is, judged by its bytes alone. Nothing is decoded or decompressed.
//!
//! The first bytes show the format and the dimensions, and a walk through the file's own structure
//! shows whether its end is missing. Bytes after that end are kept: a file is served as it came,
//! with a type that cannot be run.

mod format;
mod grammar;
mod refused;
#[cfg(test)]
pub(in crate::archive) mod samples;
#[cfg(test)]
mod tests;
mod walk;

pub use format::{Format, Media};
pub use refused::RefusedContent;

use walk::Walk;

/// Bytes from which the format and the dimensions are read. The dimensions of a JPEG come after its
/// metadata, such as a colour profile or a preview.
const HEAD_BYTES: usize = 256 * 1024;

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

/// What the caller knows about a file before it is fetched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Expected {
    #[default]
    AnyFormat,
    /// EvoLink says that the file is raw PCM, which has no structure.
    RawPcm,
}

/// Judges a file while it arrives.
pub struct Inspector {
    expected: Expected,
    pixels_max: u64,
    bytes: u64,
    stage: Stage,
}

enum Stage {
    /// The first bytes, until there are enough.
    Head(Vec<u8>),
    Body(Content, Walk),
}

impl Inspector {
    pub fn new(expected: Expected, pixels_max: u64) -> Self {
        Self {
            expected,
            pixels_max,
            bytes: 0,
            stage: Stage::Head(Vec::new()),
        }
    }

    /// The content, as soon as it is known.
    pub fn content(&self) -> Option<Content> {
        match &self.stage {
            Stage::Head(_) => None,
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
            Stage::Head(head) => {
                head.extend_from_slice(chunk);
                if head.len() >= HEAD_BYTES {
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
            Stage::Head(_) => Err(RefusedContent::Empty),
        }
    }

    /// Judges the first bytes. Does nothing if they were judged before.
    fn judge_head(&mut self, is_whole_file: bool) -> Result<(), RefusedContent> {
        let Stage::Head(head) = &self.stage else {
            return Ok(());
        };
        let format = Format::of(head, self.expected)?;
        let dimensions = match format.media() {
            Media::Image => Some(self.dimensions(format, head, is_whole_file)?),
            Media::Video | Media::Audio => None,
        };
        let mut walk = Walk::new(format);
        walk.feed(head);
        self.stage = Stage::Body(Content { format, dimensions }, walk);
        Ok(())
    }

    fn dimensions(
        &self,
        format: Format,
        head: &[u8],
        is_whole_file: bool,
    ) -> Result<Dimensions, RefusedContent> {
        let missing = if is_whole_file {
            RefusedContent::Truncated {
                format,
                bytes: self.bytes,
            }
        } else {
            RefusedContent::NoDimensions { format }
        };
        let size = match imagesize::blob_size(head) {
            Ok(size) => size,
            Err(imagesize::ImageError::IoError(error))
                if error.kind() == std::io::ErrorKind::UnexpectedEof =>
            {
                return Err(missing);
            }
            Err(_) => return Err(RefusedContent::NoDimensions { format }),
        };
        let (Ok(width), Ok(height)) = (u32::try_from(size.width), u32::try_from(size.height))
        else {
            return Err(RefusedContent::NoDimensions { format });
        };
        if width == 0 || height == 0 {
            return Err(RefusedContent::NoPixels { format });
        }
        if u64::from(width) * u64::from(height) > self.pixels_max {
            return Err(RefusedContent::TooManyPixels {
                width,
                height,
                pixels_max: self.pixels_max,
            });
        }
        Ok(Dimensions { width, height })
    }
}
