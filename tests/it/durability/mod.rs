//! Acknowledged callbacks are never lost. The tests run the real program in its own process, kill
//! it, cut off its disk, fill its disk, or make its disk fail. A client that logs every 2xx is the
//! oracle.

mod disk;
mod files;
mod process;
mod recorder;
