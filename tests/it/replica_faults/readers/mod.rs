//! Readers and waiters at one replica, of what another records.

mod campaign;
mod news;
mod order;
mod pending;
mod waits;
mod wake;
