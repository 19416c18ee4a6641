//! Why a file is not kept, in words for people.

use std::fmt;

use super::Format;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusedContent {
    Empty,
    Html,
    Svg,
    Xml,
    Json,
    Text,
    Unknown,
    Truncated {
        format: Format,
        bytes: u64,
    },
    NoDimensions {
        format: Format,
    },
    NoPixels {
        format: Format,
    },
    TooManyPixels {
        width: u32,
        height: u32,
        pixels_max: u64,
    },
}

impl fmt::Display for RefusedContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the file is empty"),
            Self::Html => f.write_str("the file is an HTML page"),
            Self::Svg => f.write_str("the file is an SVG, which may contain scripts"),
            Self::Xml => f.write_str("the file is XML"),
            Self::Json => f.write_str("the file is JSON"),
            Self::Text => f.write_str("the file is text"),
            Self::Unknown => f.write_str(
                "the file is neither an image nor a video nor audio in a format that is kept",
            ),
            Self::Truncated { format, bytes } => write!(
                f,
                "the end of the file is missing: its {bytes} bytes are not a whole {}",
                format.content_type()
            ),
            Self::NoDimensions { format } => write!(
                f,
                "the file is damaged: this {} does not say how large the image is",
                format.content_type()
            ),
            Self::NoPixels { format } => write!(
                f,
                "the file is damaged: this {} has no pixels",
                format.content_type()
            ),
            Self::TooManyPixels {
                width,
                height,
                pixels_max,
            } => write!(
                f,
                "the image has too many pixels: {width}x{height}, and {pixels_max} are allowed"
            ),
        }
    }
}

impl std::error::Error for RefusedContent {}
