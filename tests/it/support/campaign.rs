//! Randomized tests: how often they repeat, and their seed.

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
