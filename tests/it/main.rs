//! The tests through real sockets: one binary, one module a story.

mod simulator;
