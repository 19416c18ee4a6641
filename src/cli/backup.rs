//! `backup` and `restore`.

use std::path::PathBuf;

use clap::Args;

use super::ConfigArgs;

#[derive(Debug, Args)]
pub struct BackupArgs {
    /// The folder that is made for the backup. It must not exist.
    #[arg(value_name = "PATH")]
    pub path: PathBuf,
    #[command(flatten)]
    pub config: ConfigArgs,
}

#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// The folder of the backup.
    #[arg(value_name = "PATH", required_unless_present = "new_epoch")]
    pub path: Option<PathBuf>,
    /// Move aside what is in place. Without this, a store that is there is not touched.
    #[arg(long)]
    pub replace: bool,
    /// Restore nothing, only begin a new epoch: after the database was restored by other means.
    #[arg(long, conflicts_with_all = ["path", "replace"])]
    pub new_epoch: bool,
    #[command(flatten)]
    pub config: ConfigArgs,
}
