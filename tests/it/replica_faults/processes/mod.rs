//! Receivers that are killed, frozen, or left by their clients.

mod freeze;
mod hang_up;
mod kill;
mod ready;
mod ring;
