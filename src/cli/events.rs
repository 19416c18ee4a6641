//! `events`: the log of changes to tasks.

use clap::{Args, Subcommand};

use super::ClientArgs;
use crate::domain::event::id::Cursor;

#[derive(Debug, Subcommand)]
pub enum EventsCommand {
    /// Show events as they happen, until Ctrl-C.
    Tail(EventsTailArgs),
}

#[derive(Debug, Args)]
pub struct EventsTailArgs {
    /// Begin after this event (its id or number) instead of now; 0 begins with the first event.
    #[arg(long, value_name = "ID", value_parser = cursor)]
    pub after: Option<Cursor>,
    /// Only events of these types, such as task.completed.
    #[arg(long, value_name = "TYPES", value_delimiter = ',')]
    pub types: Vec<String>,
    /// Only events of this task, by its task id or submission id.
    #[arg(long, value_name = "ID")]
    pub task: Option<String>,
    /// Print each event as one line of JSON.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub client: ClientArgs,
}

fn cursor(text: &str) -> Result<Cursor, String> {
    let wanted = "must be the id of an event, such as k3v9x2ab-42, or a number";
    Cursor::parse(text).ok_or_else(|| wanted.to_owned())
}
