//! The bytes of callbacks: framing, JSON, meaning, and secrets that they repeat.

mod echo;
mod framing;
mod json;
mod meaning;
