//! `quarantine`: shows callbacks that could not be applied, and replays them.

use clap::{Args, Subcommand};

use super::{ClientArgs, PageArgs};

#[derive(Debug, Subcommand)]
pub enum QuarantineCommand {
    /// List what could not be applied, newest first.
    List(QuarantineListArgs),
    /// Show one entry with its headers and its body.
    Show(QuarantineShowArgs),
    /// Replay entries: parse their bodies again, with the running version, and record them.
    Replay(QuarantineReplayArgs),
}

#[derive(Debug, Args)]
pub struct QuarantineListArgs {
    /// Only callbacks to this URL: a submission id, or ~ and the label of a shared one.
    #[arg(long)]
    pub subject: Option<String>,
    #[command(flatten)]
    pub page: PageArgs,
    #[command(flatten)]
    pub client: ClientArgs,
}

#[derive(Debug, Args)]
pub struct QuarantineShowArgs {
    /// The number of the entry.
    #[arg(value_parser = clap::value_parser!(i64).range(1..))]
    pub id: i64,
    /// Print the entry as JSON.
    #[arg(long, conflicts_with = "raw")]
    pub json: bool,
    /// Write the body byte for byte as it was received, to a file or a pipe.
    #[arg(long)]
    pub raw: bool,
    #[command(flatten)]
    pub client: ClientArgs,
}

#[derive(Debug, Args)]
pub struct QuarantineReplayArgs {
    /// The numbers of the entries.
    #[arg(value_name = "ID", required_unless_present = "all", value_parser = clap::value_parser!(i64).range(1..))]
    pub ids: Vec<i64>,
    /// Every entry that was never replayed, oldest first.
    #[arg(long, conflicts_with = "ids")]
    pub all: bool,
    /// Print one JSON object for each entry.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub client: ClientArgs,
}
