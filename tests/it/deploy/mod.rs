//! The files of `deploy/`: what they name is there, and the programs that read them accept them.

mod manifests;
mod metrics;
mod rules;
