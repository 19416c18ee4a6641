//! A private PostgreSQL cluster for each trial, and connections to it.

use std::path::{Path, PathBuf};

use sqlx::{ConnectOptions as _, PgConnection};

use crate::cluster::Cluster;
use crate::disk::Disk;

/// Starts a cluster on `disk`, with as many connections as the largest load needs.
pub async fn start(disk: Disk, port: u16) -> anyhow::Result<Cluster> {
    let cluster = Cluster::start(disk.folder()?, port, |postgres| {
        postgres.args(["-c", "max_connections=200"]);
        disk.apply_to(postgres);
    });
    let cluster = cluster.await?;
    disk.check_applied_to(cluster.postmaster.id())?;
    Ok(cluster)
}

pub async fn connect(url: &str) -> anyhow::Result<PgConnection> {
    let options: sqlx::postgres::PgConnectOptions = url.parse()?;
    Ok(options.connect().await?)
}

/// Returns the folder of the schema, which exists if this version of the program supports
/// PostgreSQL.
pub fn migrations() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations/postgres")
}
