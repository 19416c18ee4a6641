//! The HTTP side: the serve loop with its limits, certificates, and the handlers of both listeners.
//! This module depends on `store`, `evolink` and `domain`. `http` and `workers` do not depend on
//! each other.

// From the socket to a request: accept, decrypt, read within limits. Both listeners use these.
pub mod permits;
pub mod serve;
pub mod tls;

// The public listener, which EvoLink reaches.
pub mod public;

// The internal listener, which apps and operators reach: the API, and the pages for people.
pub mod dashboard;
pub mod internal;
