//! Submits that an app repeats, with an `Idempotency-Key` or without.

mod freed_keys;
mod guard;
mod idempotency;
