//! `deliveries`: lists and shows deliveries to endpoints, retries them, and tests endpoints.

use clap::{ArgGroup, Args, Subcommand};

use super::{ClientArgs, PageArgs};

#[derive(Debug, Subcommand)]
pub enum DeliveriesCommand {
    /// List deliveries, newest first.
    List(DeliveriesListArgs),
    /// Show one delivery with its failed attempts.
    Show(DeliveriesShowArgs),
    /// Send a signed test event to an endpoint of the configuration.
    Test(DeliveriesTestArgs),
    /// Retry deliveries: dead ones from the beginning, pending ones now.
    Retry(DeliveriesRetryArgs),
}

#[derive(Debug, Args)]
pub struct DeliveriesListArgs {
    /// Only those in this state: pending, held, delivered or dead.
    #[arg(long)]
    pub state: Option<String>,
    /// Only those to this endpoint: its name, or scheme://host:port of an app's own address.
    #[arg(long, value_name = "NAME")]
    pub endpoint: Option<String>,
    /// Only those for this task: a task id or a submission id.
    #[arg(long, value_name = "ID")]
    pub task: Option<String>,
    #[command(flatten)]
    pub page: PageArgs,
    #[command(flatten)]
    pub client: ClientArgs,
}

#[derive(Debug, Args)]
pub struct DeliveriesShowArgs {
    /// The number of the delivery.
    #[arg(value_parser = clap::value_parser!(i64).range(1..))]
    pub id: i64,
    /// Print it as JSON.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub client: ClientArgs,
}

#[derive(Debug, Args)]
pub struct DeliveriesTestArgs {
    /// The name of the endpoint.
    pub name: String,
    /// Print the result as JSON.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub client: ClientArgs,
}

// The group makes the error of a command without arguments name both ways.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("which").required(true).args(["ids", "all_dead"])))]
pub struct DeliveriesRetryArgs {
    /// The numbers of the deliveries.
    #[arg(value_name = "ID", value_parser = clap::value_parser!(i64).range(1..))]
    pub ids: Vec<i64>,
    /// Every dead delivery, oldest first.
    #[arg(long, conflicts_with = "ids")]
    pub all_dead: bool,
    /// With --all-dead: only those to this endpoint, which is enabled if it is disabled.
    #[arg(
        long,
        value_name = "NAME",
        requires = "all_dead",
        conflicts_with = "ids"
    )]
    pub endpoint: Option<String>,
    /// Print one JSON object per delivery; with --all-dead, one in total.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub client: ClientArgs,
}
