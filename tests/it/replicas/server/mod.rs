//! The server: rights, settings, sessions, and what `check` finds about it.

mod access;
mod check;
mod findings;
mod locked;
mod outage;
mod pooler;
mod rights;
mod schema;
mod tools;
