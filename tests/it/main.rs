//! One binary for all integration tests; one module per story.

mod domain;
mod evolink;
