//! One binary for all integration tests; one module per story.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod domain;
mod evolink;
