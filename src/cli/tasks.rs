//! `tasks`: lists, shows and watches tasks.

use clap::{Args, Subcommand};
use jiff::Timestamp;

use super::{ClientArgs, PageArgs};

#[derive(Debug, Subcommand)]
pub enum TasksCommand {
    /// List tasks, newest first.
    List(TasksListArgs),
    /// Show one task.
    Show(TasksShowArgs),
    /// Watch tasks until all are terminal.
    Watch(TasksWatchArgs),
}

#[derive(Debug, Args)]
pub struct TasksListArgs {
    /// Only tasks with this status.
    #[arg(long)]
    pub status: Option<String>,
    /// Only tasks that were submitted with the API key of this name.
    #[arg(long = "client", value_name = "NAME")]
    pub client_name: Option<String>,
    /// Only tasks created after this time (RFC 3339).
    #[arg(long, value_name = "TIME")]
    pub created_after: Option<Timestamp>,
    #[command(flatten)]
    pub page: PageArgs,
    #[command(flatten)]
    pub client: ClientArgs,
}

#[derive(Debug, Args)]
pub struct TasksShowArgs {
    /// A task id or a submission id.
    pub id: String,
    /// Print the task object as JSON.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub client: ClientArgs,
}

#[derive(Debug, Args)]
pub struct TasksWatchArgs {
    /// Task ids or submission ids; without any, all tasks that are not terminal now.
    pub ids: Vec<String>,
    /// Print one task object as JSON whenever a task changes.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub client: ClientArgs,
}
