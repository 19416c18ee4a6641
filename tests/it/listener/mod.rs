//! The serve loop: its limits, its framing, and how it ends.

mod caps;
mod drain;
mod framing;
mod limits;
mod shortened;
mod stubborn;
