//! What fails around the archive: the hosts of files, its disk, and the receiver itself.

mod crash;
mod disk;
mod hosts;
mod stop;
