//! `backup` and `restore`.

use std::path::PathBuf;

use clap::Args;

use super::ConfigArgs;

#[derive(Debug, Args)]
pub struct BackupArgs {
    /// The folder to create for the backup. It must not exist.
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
    /// Move existing files aside. Without this, an existing store is not touched.
    #[arg(long)]
    pub replace: bool,
    /// Restore nothing, only begin a new epoch: for a database that was restored by other means.
    #[arg(long, conflicts_with_all = ["path", "replace"])]
    pub new_epoch: bool,
    #[command(flatten)]
    pub config: ConfigArgs,
}
