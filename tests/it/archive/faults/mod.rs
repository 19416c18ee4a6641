//! What fails around the archive: the hosts of files, and the receiver itself.

mod crash;
mod hosts;
