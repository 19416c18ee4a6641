//! `quarantine`: what could not be applied, and doing it again.

use clap::{Args, Subcommand};

use super::{ClientArgs, PageArgs};

#[derive(Debug, Subcommand)]
pub enum QuarantineCommand {
    /// List what could not be applied, the newest first.
    List(QuarantineListArgs),
    /// Show one entry with its headers and its body.
    Show(QuarantineShowArgs),
    /// Record entries after all: their bodies are read anew, by the version that runs now.
    Replay(QuarantineReplayArgs),
}

#[derive(Debug, Args)]
pub struct QuarantineListArgs {
    /// Only what came by this callback URL: a submission id, or ~ and the label of a standing one.
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
    /// Write the body as it came, byte for byte, to a file or a pipe.
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
    /// Every entry that was never replayed, the oldest first.
    #[arg(long, conflicts_with = "ids")]
    pub all: bool,
    /// Print one JSON object for each entry.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub client: ClientArgs,
}
