//! Clients that do not know a token, or that misuse the one they know.

mod bounds;
mod guesses;
mod probes;
mod program;
mod refusals;
mod secrets;
mod slow;
mod tokens;
mod unfinished;
