//! `results` and `archive`: arguments to download result files, and to retry and verify them.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::ClientArgs;

#[derive(Debug, Subcommand)]
pub enum ResultsCommand {
    /// Download a result of a task into a file.
    Get(ResultsGetArgs),
}

#[derive(Debug, Args)]
pub struct ResultsGetArgs {
    /// A task id or a submission id.
    pub id: String,
    /// Which result, counted from 0.
    #[arg(value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..64))]
    pub number: u8,
    /// The file to write. An existing one is replaced, once the download is complete.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Wait this long for the task to complete; 60 seconds if no number is given.
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true, default_missing_value = "60")]
    pub wait: Option<u64>,
    #[command(flatten)]
    pub client: ClientArgs,
}

#[derive(Debug, Subcommand)]
pub enum ArchiveCommand {
    /// Fetch result files again that were given up.
    Retry(ArchiveRetryArgs),
    /// Read every archived file and compare it with its hash. Damaged and missing files are fetched
    /// again if EvoLink still offers them.
    Verify(ArchiveVerifyArgs),
}

#[derive(Debug, Args)]
pub struct ArchiveRetryArgs {
    /// Only those of this task: a task id or a submission id.
    #[arg(long, value_name = "ID")]
    pub task: Option<String>,
    /// Print one JSON object: retried, more.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub client: ClientArgs,
}

#[derive(Debug, Args)]
pub struct ArchiveVerifyArgs {
    /// Print one JSON object: verified, bytes, damaged.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub client: ClientArgs,
}
