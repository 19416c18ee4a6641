//! Several receivers on one PostgreSQL. Any of them may receive any request, and together they
//! behave as one.

mod callbacks;
mod deliveries;
mod epochs;
mod polls;
mod processes;
mod quarantine;
mod repeats;
mod server;
mod start;
mod submits;
mod three;
mod views;
