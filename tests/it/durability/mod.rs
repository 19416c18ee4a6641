//! Acknowledged callbacks are never lost. The tests run the real program in its own process, kill
//! it, cut off its disk, fill its disk, or make its disk fail. A client that logs every 2xx is the
//! oracle.

mod bursts;
pub mod check;
mod contradictions;
mod damage;
pub mod disk;
mod files;
mod fsync;
pub mod full;
mod full_start;
mod kill;
pub mod load;
mod log;
mod mark;
mod names;
mod orphans;
mod place;
mod power;
mod read_only;
mod readers;
pub mod ready;
pub mod receiver;
pub mod recorder;
mod replaced;
mod restarted;
mod schema;
mod shadow;
mod start;
mod stop;
mod sweep;
mod vanished;

/// How often a randomized test repeats: `normal` in each run, `long` in `./test --long`.
pub fn rounds(normal: u32, long: u32) -> u32 {
    if std::env::var_os("EVOLINK_RECEIVER_TEST_LONG").is_some() {
        long
    } else {
        normal
    }
}

/// A random generator. It prints its seed; setting that seed repeats the run.
pub fn random() -> fastrand::Rng {
    let given = std::env::var("EVOLINK_RECEIVER_TEST_SEED").ok();
    let seed = given.map_or_else(|| fastrand::u64(..), |seed| seed.parse().unwrap());
    println!("EVOLINK_RECEIVER_TEST_SEED={seed}");
    fastrand::Rng::with_seed(seed)
}
