//! A PostgreSQL server for a test alone: real, in a folder of its own, on loopback; gone when dropped, and when the test's
//! process ends in whatever way.

use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Pid, Signal, geteuid, kill_process};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::app::free_port;
use super::needs::{self, Root};

/// Far above any time under test: reaching it means that it will never happen.
const PATIENCE: Duration = Duration::from_mins(1);

/// The server's own user, which it runs as if the test is root: it refuses to be root itself.
const USER: &str = "postgres";

/// Nothing is waited for that a throw-away cluster could lose in a power cut.
const CARELESS: [&str; 4] = [
    "fsync=off",
    "full_page_writes=off",
    "wal_level=minimal",
    "max_wal_senders=0",
];

/// What kind of server.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whether a commit waits for the disk, as it does in earnest.
    pub is_durable: bool,
    pub listen: IpAddr,
    /// Command and arguments before the server's own, such as `ip netns exec NAME`.
    pub launcher: Vec<String>,
}

impl Options {
    pub fn quick() -> Self {
        Self {
            is_durable: false,
            listen: Ipv4Addr::LOCALHOST.into(),
            launcher: Vec::new(),
        }
    }

    pub fn durable() -> Self {
        Self {
            is_durable: true,
            ..Self::quick()
        }
    }
}

/// A data directory with its server, which may be stopped, killed and started again.
pub struct Cluster {
    folder: TempDir,
    binaries: PathBuf,
    options: Options,
    address: SocketAddr,
    postmaster: Option<Postmaster>,
}

/// A running server process. Its keeper is the thread that started it and waits for its end: the system ends the server
/// when that thread does.
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

    /// What a receiver's `store.url` is for a database in here.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://{USER}@{}/{database}", self.address)
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

    /// As `pg_ctl stop -m immediate`: without a checkpoint, so that the next start has to recover.
    pub async fn stop_immediate(&mut self) {
        self.end(Signal::QUIT).await;
    }

    /// As `pg_ctl stop -m fast`: transactions are rolled back, all is written.
    pub async fn stop_fast(&mut self) {
        self.end(Signal::INT).await;
    }

    /// SIGKILL to the postmaster; its children notice, and end by themselves.
    pub async fn kill(&mut self) {
        self.end(Signal::KILL).await;
    }

    /// On the same data and port. Returns when connections are taken.
    pub async fn start_again(&mut self) {
        assert!(self.postmaster.is_none(), "the server is running");
        let deadline = Instant::now() + PATIENCE;
        // The children of a killed postmaster may still be there; the new one refuses to start beside them.
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
        // Text is ordered as by many servers in earnest, and not by its bytes.
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
        for setting in settings.chain(careless) {
            command.args(["-c", setting]);
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

    /// Whether this very process says in its pid file that it takes connections.
    fn is_ready(&self, postmaster: &Postmaster) -> bool {
        let text = fs::read_to_string(self.data().join("postmaster.pid")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        let pid = postmaster.pid.as_raw_nonzero().to_string();
        lines.first() == Some(&pid.as_str()) && lines.get(7) == Some(&"ready")
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

/// A command that runs as the server's user and is told to quit when the thread that started it ends.
fn as_user(launcher: &[String]) -> Command {
    let mut words = launcher.to_vec();
    words.extend(["setpriv".to_owned(), "--pdeathsig=QUIT".to_owned()]);
    if other_user().is_some() {
        let user = ["--reuid", USER, "--regid", USER, "--init-groups"];
        words.extend(user.map(str::to_owned));
    }
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).arg("--");
    command
}

/// User and group to change to, if the test is root.
fn other_user() -> Option<(u32, u32)> {
    if !geteuid().is_root() {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let line = users
        .lines()
        .find_map(|line| line.strip_prefix(USER)?.strip_prefix(':'))
        .expect("the server's package made its user");
    let mut fields = line.split(':').skip(1);
    let mut number = || fields.next()?.parse().ok();
    Some((number()?, number()?))
}

/// The folder of the newest server here, or of the one in the path.
fn binaries() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let newest = versions
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let version: u32 = path.file_name()?.to_str()?.parse().ok()?;
            Some((version, path.join("bin")))
        })
        .filter(|(_, path)| has_server(path))
        .max();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let in_path = || std::env::split_paths(&path).find(|path| has_server(path));
    newest.map(|(_, path)| path).or_else(in_path)
}

fn has_server(folder: &Path) -> bool {
    folder.join("postgres").is_file() && folder.join("initdb").is_file()
}
