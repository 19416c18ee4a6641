//! One binary for all tests that look at the program from outside; one module a story.

mod cli;
mod config;
