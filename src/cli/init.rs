//! `init`: which configuration to start from, and where to write it.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

#[derive(Debug, Args)]
pub struct InitArgs {
    /// The configuration to start from.
    #[arg(value_name = "KIND", value_enum, default_value_t = Start::Trial)]
    pub start: Start,
    /// The file to write; - prints it.
    #[arg(long, value_name = "FILE", default_value = "receiver.toml")]
    pub out: PathBuf,
    /// Replace the file if it exists.
    #[arg(long)]
    pub force: bool,
}

/// A configuration to start from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Start {
    /// With the simulator, on this machine.
    Trial,
    /// Behind a proxy that ends TLS.
    Proxy,
    /// In the image, with certificate files.
    Container,
}
