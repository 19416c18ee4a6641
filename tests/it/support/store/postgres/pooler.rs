//! A real PgBouncer in front of a test's own server, with its defaults except for the mode.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::chown;
use std::process::{Child, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::cluster::Cluster;
use super::machine::{as_user, other_user};
use crate::support::machine::needs::{self, Root};
use crate::support::net::ports::free_port;
use crate::support::until::PATIENCE;

/// A running PgBouncer. It ends when dropped, and when the test's process ends.
pub struct Pooler {
    child: Child,
    folder: TempDir,
    address: SocketAddr,
}

impl Pooler {
    /// `None` where there is no PgBouncer, after saying so. `mode`: session, transaction or
    /// statement.
    pub async fn start(cluster: &Cluster, mode: &str) -> Option<Self> {
        if !needs::are_met(Root::NotNeeded, &["pgbouncer", "setpriv"]) {
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let server = cluster.address();
        let place = folder.path().display();
        let settings = format!(
            "[databases]\n* = host={} port={}\n[pgbouncer]\nlisten_addr = {}\nlisten_port = {}\n\
             unix_socket_dir =\nauth_type = trust\nauth_file = {place}/users\npool_mode = {mode}\n",
            server.ip(),
            server.port(),
            address.ip(),
            address.port(),
        );
        fs::write(folder.path().join("users"), "\"postgres\" \"\"\n").unwrap();
        fs::write(folder.path().join("settings"), settings).unwrap();
        if let Some((user, group)) = other_user() {
            chown(folder.path(), Some(user), Some(group)).unwrap();
        }
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let mut command = as_user(&[]);
        command.arg("pgbouncer").arg(folder.path().join("settings"));
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        let mut pooler = Self {
            child: command.spawn().unwrap(),
            folder,
            address,
        };
        pooler.is_ready().await;
        Some(pooler)
    }

    /// Changes the server's `url` so that it goes through this PgBouncer.
    pub fn url(&self, cluster: &Cluster, url: &str) -> String {
        let (server, own) = (cluster.address().to_string(), self.address.to_string());
        assert!(url.contains(&server), "{url}");
        url.replace(&server, &own)
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    async fn is_ready(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(self.address).is_err() {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "{ended:?}: {}", self.log());
            assert!(Instant::now() < deadline, "{}", self.log());
            sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
