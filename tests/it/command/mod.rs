//! The commands of the program, as people and programs use them.

mod binary;
mod check;
mod demo;
mod events;
mod keys;
mod line;
mod script;
mod submit;
mod surroundings;
mod tasks;
mod watch;
