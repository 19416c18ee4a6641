//! What fails around the archive: the hosts of files.

mod hosts;
