//! The fault campaign: random faults of every kind against the real program or its real recorder.
//! The invariants are checked after each step or at the end. Each run prints the seed that repeats
//! it. The campaign is short in each test run, and long in `./test --long`.

mod chaos;
mod clock;
mod repeats;
mod restarts;
mod simulation;
mod submit_points;
mod table_e;
