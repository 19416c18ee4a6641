//! The API's description: how it is served, and that the service does what it says.

mod described;
mod fuzzed;
mod served;
