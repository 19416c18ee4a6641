//! The kind of a task: which of EvoLink's three routes it was submitted through.

use std::time::Duration;

use serde::Serialize;
use strum::{EnumString, IntoStaticStr, VariantArray};

/// An image, a video or a sound. EvoLink's answers may lack it, so it is taken from the route.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, IntoStaticStr, EnumString, VariantArray,
)]
#[strum(const_into_str, serialize_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Image,
    Video,
    Audio,
}

impl Kind {
    /// The path segment of its submit route.
    pub const fn segment(self) -> &'static str {
        match self {
            Self::Image => "images",
            Self::Video => "videos",
            Self::Audio => "audios",
        }
    }

    /// The route through which apps submit it, the same as EvoLink's.
    pub const fn submit_path(self) -> &'static str {
        match self {
            Self::Image => "/v1/images/generations",
            Self::Video => "/v1/videos/generations",
            Self::Audio => "/v1/audios/generations",
        }
    }

    /// The member `object` of EvoLink's task.
    pub const fn object(self) -> &'static str {
        match self {
            Self::Image => "image.generation.task",
            Self::Video => "video.generation.task",
            Self::Audio => "audio.generation.task",
        }
    }

    /// Whether EvoLink may send the callbacks of one task in stages, the first ones with a part of
    /// the results.
    pub const fn is_staged(self) -> bool {
        matches!(self, Self::Audio)
    }

    /// The shortest time between two polls of an unfinished task. Each makes EvoLink query its own
    /// upstream, and EvoLink's own client polls no faster.
    pub const fn poll_gap_min(self) -> Duration {
        match self {
            Self::Image => Duration::from_secs(3),
            Self::Audio => Duration::from_secs(6),
            Self::Video => Duration::from_secs(8),
        }
    }
}
