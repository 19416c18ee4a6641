//! `check` of the surroundings of a configuration: each kind of finding, and that nothing is
//! changed.

mod certificates;
mod machine;
mod place;
mod secrets;
mod store;
