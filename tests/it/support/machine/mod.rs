//! What a test needs of the machine: tools, a clock, a network.

pub mod addresses;
pub mod dns;
pub mod faketime;
pub mod needs;
pub mod own_network;
pub mod traps;
