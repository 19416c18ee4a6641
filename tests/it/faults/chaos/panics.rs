//! Counts panics anywhere in this process, also in worker tasks whose result is never awaited.

use std::sync::atomic::{AtomicUsize, Ordering};

static COUNT: AtomicUsize = AtomicUsize::new(0);

/// Starts to count panics, and returns a function that returns the count so far. Each test has its
/// own process.
pub fn counted() -> impl Fn() -> usize {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        COUNT.fetch_add(1, Ordering::Relaxed);
        before(panic);
    }));
    || COUNT.load(Ordering::Relaxed)
}
