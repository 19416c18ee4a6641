//! Panics anywhere in this process, also of workers whose panic nobody waits for.

use std::sync::atomic::{AtomicUsize, Ordering};

static COUNT: AtomicUsize = AtomicUsize::new(0);

/// Counts from now on; gives the count so far. A test has its process to itself.
pub fn counted() -> impl Fn() -> usize {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        COUNT.fetch_add(1, Ordering::Relaxed);
        before(panic);
    }));
    || COUNT.load(Ordering::Relaxed)
}
