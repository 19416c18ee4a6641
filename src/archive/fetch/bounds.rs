//! The limits of one fetch: bytes, pixels, time and rate.

use std::time::Duration;

use crate::archive::content::Media;

const MIB: u64 = 1024 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    pub image: Bound,
    pub audio: Bound,
    pub video: Bound,
    /// Pixels of an image, by its header.
    pub pixels_max: u64,
    /// The longest time until the headers of each answer.
    pub answer_time_max: Duration,
    pub rate: Rate,
    /// The pause before a broken transfer is resumed. Grows with each resumption.
    pub resume_pause: Duration,
}

/// The bounds of one kind of file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    pub bytes_max: u64,
    /// The time of the whole transfer.
    pub time_max: Duration,
}

/// In each `window` of waiting for the server, at least `bytes_min` must arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    pub window: Duration,
    pub bytes_min: u64,
}

impl Bounds {
    pub(super) fn of(&self, media: Media) -> Bound {
        match media {
            Media::Image => self.image,
            Media::Audio => self.audio,
            Media::Video => self.video,
        }
    }

    /// The largest file of any kind.
    pub(super) fn bytes_max(&self) -> u64 {
        [self.image, self.audio, self.video]
            .map(|bound| bound.bytes_max)
            .into_iter()
            .fold(0, u64::max)
    }
}

impl Default for Bounds {
    fn default() -> Self {
        let bound = |mebibytes, seconds| Bound {
            bytes_max: mebibytes * MIB,
            time_max: Duration::from_secs(seconds),
        };
        Self {
            image: bound(32, 60),
            audio: bound(64, 120),
            // At 10 Mbit/s, 2 GiB take 29 minutes.
            video: bound(2048, 30 * 60),
            // A photograph of a good camera, and 160 MB when a reader decodes it.
            pixels_max: 40_000_000,
            answer_time_max: Duration::from_secs(30),
            rate: Rate {
                window: Duration::from_secs(10),
                bytes_min: 10 * 1024,
            },
            resume_pause: Duration::from_secs(1),
        }
    }
}
