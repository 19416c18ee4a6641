//! `tasks`: lists, shows and watches tasks.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::{ClientArgs, PageArgs};
use crate::clock::Clock;
use crate::config::parse_duration;

#[derive(Debug, Subcommand)]
pub enum TasksCommand {
    /// List tasks, newest first.
    List(TasksListArgs),
    /// Show one task.
    Show(TasksShowArgs),
    /// Watch tasks until all are finished.
    Watch(TasksWatchArgs),
    /// Write old tasks with their histories into a file, as JSON lines.
    Export(TasksExportArgs),
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
    /// Only tasks that were submitted with this reference.
    #[arg(long, value_name = "NAME")]
    pub reference: Option<String>,
    /// Only tasks created after this time: RFC 3339 such as 2026-11-29T17:00:00Z, a date (its
    /// beginning in UTC), or how long ago, such as 30m, 1h or 2d.
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

#[derive(Debug, Args)]
pub struct TasksExportArgs {
    /// Only tasks created before this time: RFC 3339 such as 2026-11-29T17:00:00Z, a date (its
    /// beginning in UTC), or how long ago, such as 30m, 1h or 2d.
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub before: Timestamp,
    /// The file to write; - is the standard output. An existing file is replaced, once the export is
    /// complete. Each line is an object: task (the task object) and events (its history).
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    #[command(flatten)]
    pub client: ClientArgs,
}

fn time(text: &str) -> Result<Timestamp, String> {
    let now = Clock::System.wall_now().as_millis();
    let now = Timestamp::from_millisecond(now).map_err(|error| error.to_string())?;
    time_at(text, now)
}

fn time_at(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    let ago = || now.checked_sub(parse_duration(text).ok()?).ok();
    let time = text.parse().ok().or_else(|| midnight(text)).or_else(ago);
    time.ok_or_else(|| {
        "must be a time with its zone, such as 2026-11-29T17:00:00Z, a date, or how long ago, such as 1h"
            .to_owned()
    })
}

/// Returns the beginning of a date in UTC. `Date` also reads a time without a zone, and would drop
/// it.
fn midnight(text: &str) -> Option<Timestamp> {
    let date: Date = text
        .parse()
        .ok()
        .filter(|_| text.len() == "2026-11-29".len())?;
    let midnight = date.to_zoned(TimeZone::UTC).ok()?;
    Some(midnight.timestamp())
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

    #[test]
    fn a_time_may_be_a_date_or_how_long_ago_it_is() {
        let now = "2026-11-30T12:00:00Z".parse().unwrap();
        for (text, time) in [
            ("2026-11-29T17:00:00Z", Some("2026-11-29T17:00:00Z")),
            ("2026-11-29T17:00:00+02:00", Some("2026-11-29T15:00:00Z")),
            ("2026-11-29", Some("2026-11-29T00:00:00Z")),
            ("1h", Some("2026-11-30T11:00:00Z")),
            ("30m", Some("2026-11-30T11:30:00Z")),
            ("2d", Some("2026-11-28T12:00:00Z")),
            ("2026-11-29T17:00:00", None),
            ("2026-11-31", None),
            ("-1h", None),
            ("1", None),
            ("99999999d", None),
            ("yesterday", None),
            ("", None),
        ] {
            let time = time.map(|time| time.parse().unwrap());
            assert_eq!(super::time_at(text, now).ok(), time, "{text}");
        }
    }
}
