//! The files of a SQLite store: their names and rights, and what other programs do to them.

mod damage;
mod log;
mod modes;
mod names;
mod orphans;
mod readers;
mod replaced;
