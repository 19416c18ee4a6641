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
    /// Watch tasks until all are finished.
    Watch(TasksWatchArgs),
}

#[derive(Debug, Args)]
pub struct TasksListArgs {
    /// Only tasks in this state: submitting, `submit_unknown`, rejected, pending, processing,
    /// completed, failed, cancelled or unresolved.
    #[arg(long)]
    pub status: Option<String>,
    /// Only tasks that were submitted with the API key of this name.
    #[arg(long = "client", value_name = "NAME")]
    pub client_name: Option<String>,
    /// Only tasks created after this time (RFC 3339), such as 2026-11-29T17:00:00Z.
    #[arg(long, value_name = "TIME", value_parser = time)]
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
    /// Task ids or submission ids. Without any, all tasks that are not finished now; the command
    /// ends when only submits of unknown outcome are left.
    pub ids: Vec<String>,
    /// Print one task object as JSON whenever a task changes.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub client: ClientArgs,
}

fn time(text: &str) -> Result<Timestamp, String> {
    let wanted = "must be a time with its zone, such as 2026-11-29T17:00:00Z";
    text.parse().map_err(|_| wanted.to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;
    use strum::VariantArray as _;

    use crate::cli::Cli;
    use crate::domain::task::State;

    #[test]
    fn the_help_names_every_state() {
        let mut command = Cli::command();
        let tasks = command.find_subcommand_mut("tasks").unwrap();
        let list = tasks.find_subcommand_mut("list").unwrap();
        let help = list.render_long_help().to_string();
        for state in State::VARIANTS {
            assert!(help.contains(state.into_str()), "{state:?}: {help}");
        }
    }
}
