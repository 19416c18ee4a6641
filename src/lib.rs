//! evolink-receiver: receives EvoLink's callbacks, keeps every task's outcome durably and exactly once,
//! and hands it to apps. Read the modules in the order in which they stand here.

pub mod simulator;
