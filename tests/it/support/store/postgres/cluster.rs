//! A real PostgreSQL server for one test, in its own folder and on loopback. It ends when dropped,
//! and when the test's process ends in any way.

use std::fs::{self, File};
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::machine::{USER, as_user, binaries, other_user};
use super::options::Options;
use crate::support::machine::needs::{self, Root};
use crate::support::net::ports::free_port;
use crate::support::until::PATIENCE;

/// A throw-away cluster need not survive a power cut, so it does not wait for the disk.
const CARELESS: [&str; 4] = [
    "fsync=off",
    "full_page_writes=off",
    "wal_level=minimal",
    "max_wal_senders=0",
];

/// A data directory with its server, which may be stopped, killed and started again.
pub struct Cluster {
    folder: TempDir,
    binaries: PathBuf,
    options: Options,
    address: SocketAddr,
    postmaster: Option<Postmaster>,
}

/// A running server process. A dedicated thread started it and waits for its end, because the
/// system ends the server when that thread ends.
struct Postmaster {
    pid: Pid,
    keeper: JoinHandle<()>,
}

impl Cluster {
    /// `None` where there is no PostgreSQL, after saying so.
    pub async fn start(options: Options) -> Option<Self> {
        let Some(binaries) = binaries() else {
            needs::skip("needs the PostgreSQL server");
            return None;
        };
        if !needs::are_met(Root::NotNeeded, &["setpriv"]) {
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        if let Some((user, group)) = other_user() {
            chown(folder.path(), Some(user), Some(group)).unwrap();
        }
        let address = SocketAddr::new(options.listen, free_port());
        let mut cluster = Self {
            folder,
            binaries,
            options,
            address,
            postmaster: None,
        };
        cluster.make();
        cluster.start_again().await;
        Some(cluster)
    }

    /// The `store.url` of a receiver for a database on this server.
    pub fn url(&self, database: &str) -> String {
        let Some(guard) = &self.options.guard else {
            return format!("postgres://{USER}@{}/{database}", self.address);
        };
        format!(
            "postgres://{USER}:{}@localhost:{}/{database}?sslmode=verify-full&sslrootcert={}",
            guard.password,
            self.address.port(),
            self.folder.path().join("tls.crt").display()
        )
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The pid of the postmaster.
    pub fn pid(&self) -> u32 {
        let pid = self.running().pid.as_raw_nonzero().get();
        u32::try_from(pid).unwrap()
    }

    pub fn log(&self) -> String {
        let log = fs::read(self.folder.path().join("log")).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// Stops like `pg_ctl stop -m immediate`: without a checkpoint, so that the next start has to
    /// recover.
    pub async fn stop_immediate(&mut self) {
        self.end(Signal::QUIT).await;
    }

    /// Stops like `pg_ctl stop -m fast`: transactions are rolled back, and everything is written.
    pub async fn stop_fast(&mut self) {
        self.end(Signal::INT).await;
    }

    /// Sends SIGKILL to the postmaster. Its children notice, and exit by themselves.
    pub async fn kill(&mut self) {
        self.end(Signal::KILL).await;
    }

    /// Starts on the same data and port. Returns when the server accepts connections.
    pub async fn start_again(&mut self) {
        assert!(self.postmaster.is_none(), "the server is running");
        let deadline = Instant::now() + PATIENCE;
        // Children of a killed postmaster may still run, and the new one refuses to start beside
        // them.
        while self.postmaster.is_none() {
            assert!(Instant::now() < deadline, "{}", self.log());
            let postmaster = self.launch();
            while !postmaster.keeper.is_finished() && !self.is_ready(&postmaster) {
                assert!(Instant::now() < deadline, "{}", self.log());
                sleep(Duration::from_millis(5)).await;
            }
            if self.is_ready(&postmaster) {
                self.postmaster = Some(postmaster);
            }
        }
    }

    /// Makes it a standby from the next start on: it accepts readers, and waits for a primary for
    /// ever.
    pub fn make_standby(&self) {
        self.put("data/standby.signal", "");
    }

    async fn end(&mut self, signal: Signal) {
        let postmaster = self.postmaster.take().expect("the server is running");
        kill_process(postmaster.pid, signal).unwrap();
        let deadline = Instant::now() + PATIENCE;
        while !postmaster.keeper.is_finished() {
            assert!(Instant::now() < deadline, "{}", self.log());
            sleep(Duration::from_millis(5)).await;
        }
    }

    fn running(&self) -> &Postmaster {
        self.postmaster.as_ref().expect("the server is running")
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn make(&self) {
        let mut command = as_user(&[]);
        command.arg(self.binaries.join("initdb")).arg(self.data());
        command.args(["--auth=trust", "--username", USER, "--encoding=UTF8"]);
        // Text is sorted as on many production servers, and not by its bytes.
        command.args([
            "--locale=C.UTF-8",
            "--locale-provider=icu",
            "--icu-locale=en-US",
        ]);
        if !self.options.is_durable {
            command.arg("--no-sync");
        }
        let made = command.current_dir(self.folder.path()).output().unwrap();
        let said = String::from_utf8_lossy(&made.stderr);
        assert!(made.status.success(), "initdb: {said}");
        if let Some(guard) = &self.options.guard {
            self.put(
                "data/pg_hba.conf",
                "local all all trust\nhostssl all all all scram-sha-256\n",
            );
            self.put("tls.crt", &guard.certificate.cert);
            self.put("tls.key", &guard.certificate.key);
            self.set_password(&guard.password);
        }
    }

    /// Sets the password before the first start, with a server that runs this one statement.
    fn set_password(&self, password: &str) {
        let mut command = as_user(&[]);
        command.arg(self.binaries.join("postgres"));
        command
            .args(["--single", "-D"])
            .arg(self.data())
            .arg("postgres");
        command.current_dir(self.folder.path());
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut server = command.spawn().unwrap();
        let statement = format!("ALTER ROLE {USER} PASSWORD '{password}'\n");
        server
            .stdin
            .take()
            .unwrap()
            .write_all(statement.as_bytes())
            .unwrap();
        assert!(server.wait().unwrap().success());
    }

    /// Writes a file that only the server's user may read.
    fn put(&self, name: &str, text: &str) {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        if let Some((user, group)) = other_user() {
            chown(&path, Some(user), Some(group)).unwrap();
        }
    }

    fn launch(&self) -> Postmaster {
        let log = self.folder.path().join("log");
        let open = || {
            File::options()
                .create(true)
                .append(true)
                .open(&log)
                .unwrap()
        };
        let mut command = as_user(&self.options.launcher);
        command.arg(self.binaries.join("postgres"));
        command.arg("-D").arg(self.data());
        command.arg("-k").arg(self.folder.path());
        command.args(["-h", &self.address.ip().to_string()]);
        command.args(["-p", &self.address.port().to_string()]);
        let settings = ["max_connections=300", "shared_buffers=64MB"].into_iter();
        let careless = CARELESS.into_iter().filter(|_| !self.options.is_durable);
        // If a setting occurs twice, the last one applies.
        let wanted = self.options.settings.iter().map(String::as_str);
        for setting in settings.chain(careless).chain(wanted) {
            command.args(["-c", setting]);
        }
        if self.options.guard.is_some() {
            for setting in ["cert_file=../tls.crt", "key_file=../tls.key"] {
                command.args(["-c", "ssl=on", "-c", &format!("ssl_{setting}")]);
            }
        }
        command.current_dir(self.folder.path()).stdin(Stdio::null());
        command.stdout(open()).stderr(open());
        let (started, pid) = mpsc::channel();
        let keeper = std::thread::spawn(move || {
            let mut child = command.spawn().unwrap();
            started.send(Pid::from_child(&child)).unwrap();
            child.wait().unwrap();
        });
        Postmaster {
            pid: pid.recv().unwrap(),
            keeper,
        }
    }

    /// Whether the pid file says that exactly this process accepts connections.
    fn is_ready(&self, postmaster: &Postmaster) -> bool {
        let text = fs::read_to_string(self.data().join("postmaster.pid")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        let pid = postmaster.pid.as_raw_nonzero().to_string();
        let state = lines.get(7).copied().unwrap_or_default();
        lines.first() == Some(&pid.as_str()) && ["ready", "standby"].contains(&state)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(postmaster) = self.postmaster.take()
            && !postmaster.keeper.is_finished()
        {
            let _ = kill_process(postmaster.pid, Signal::QUIT);
            let _ = postmaster.keeper.join();
        }
    }
}
