//! What a test needs of the machine: tools, a clock, a network.

pub mod faketime;
pub mod needs;
pub mod own_network;
