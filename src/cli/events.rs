//! `events`: the log of what happened to tasks.

use clap::{Args, Subcommand};

use super::ClientArgs;

#[derive(Debug, Subcommand)]
pub enum EventsCommand {
    /// Show events as they happen, until Ctrl-C.
    Tail(EventsTailArgs),
}

#[derive(Debug, Args)]
pub struct EventsTailArgs {
    /// Begin after this event instead of now; 0: with the oldest that is kept.
    #[arg(long, value_name = "SEQ", value_parser = clap::value_parser!(i64).range(0..))]
    pub after: Option<i64>,
    /// Only events of these types, such as task.completed.
    #[arg(long, value_name = "TYPES", value_delimiter = ',')]
    pub types: Vec<String>,
    /// Only events of this task, by its task id or submission id.
    #[arg(long, value_name = "ID")]
    pub task: Option<String>,
    /// Print each event as JSON, one a line.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub client: ClientArgs,
}
