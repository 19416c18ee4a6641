//! The internal listener as apps know it: submits, queries, keys and errors, through real sockets,
//! on the real `App`.

mod browsers;
mod calls;
mod envelope;
mod keys;
mod reads;
mod repeats;
mod self_test;
mod submits;
