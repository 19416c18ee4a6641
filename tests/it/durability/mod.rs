//! Acknowledged callbacks are never lost. The tests run the real program in its own process, kill
//! it, cut off its disk, fill its disk, or make its disk fail. A client that logs every 2xx is the
//! oracle.

mod bursts;
mod damage;
mod files;
mod fsync;
pub mod full;
mod full_start;
mod kill;
mod log;
mod mark;
mod names;
mod orphans;
mod power;
mod read_only;
mod readers;
pub mod ready;
pub mod recorder;
mod replaced;
mod restarted;
mod schema;
mod shadow;
mod start;
mod stop;
mod sweep;
mod vanished;
