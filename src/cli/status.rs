//! `status`: what works, what is open, what is wrong.

use clap::Args;

use super::ClientArgs;

#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Show it again every 2 seconds, until Ctrl-C.
    #[arg(long)]
    pub watch: bool,
    /// Print it as JSON; with --watch, one line each time.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub client: ClientArgs,
}
