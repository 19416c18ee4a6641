//! The commands of the program, as people and programs use them.

mod agreement;
mod binary;
mod check;
mod completions;
mod demo;
mod events;
mod greetings;
mod init;
mod keys;
mod line;
mod narrow;
mod online;
mod pipes;
mod script;
mod status;
mod submit;
mod surroundings;
mod tasks;
mod transcripts;
mod waited;
mod watch;
