//! The files of a store: their names and rights, and what becomes of them while no process runs.

mod damage;
mod log;
mod modes;
mod names;
mod orphans;
mod readers;
mod replaced;
mod ring;
