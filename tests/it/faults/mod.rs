//! The campaign: faults of every kind, at random, against the real program or its real recorder. The invariants are checked after
//! each step or at the end, and each run prints the seed that repeats it. Short in each run of the tests, long in
//! `./test --long`.

mod chaos;
pub mod clock;
mod repeats;
mod restarts;
mod simulation;
mod submit_points;
mod table_e;
