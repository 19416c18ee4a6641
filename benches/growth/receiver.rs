//! Runs the program as a child process on a filled store, and stops it by its process id.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use evolink_receiver::domain::callback::{KeyRing, Subject};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::sleep;

use super::Place;

/// Far longer than any start or stop takes.
const PATIENCE: Duration = Duration::from_mins(2);

const POLL: Duration = Duration::from_millis(2);

/// The unit in which Linux counts processor time, on every architecture.
const TICK: Duration = Duration::from_millis(10);

pub struct Receiver {
    child: Child,
    pub public: SocketAddr,
    token: String,
    /// The time from the start of the process until it first reports that it is ready.
    pub ready_after: Duration,
}

impl Receiver {
    /// Starts the receiver and waits until it is ready. No poll succeeds, because EvoLink cannot be
    /// reached.
    pub async fn start(place: &Place) -> anyhow::Result<Self> {
        let folder = place.folder.path();
        let (public, internal) = (free_address()?, free_address()?);
        let config = folder.join("config.toml");
        let (keys, url) = (folder.join("callback_tokens.key"), &place.url);
        std::fs::write(
            &config,
            format!(
                "[public]\nlisten = '{public}'\nbase_url = 'https://localhost'\ntls = {{ mode = 'off' }}\n\
                 [internal]\nlisten = '{internal}'\n[evolink]\nbase_url = 'http://127.0.0.1:1'\napi_key = 'none'\n\
                 [store]\nurl = '{url}'\n[callback_tokens]\nkey_file = '{}'\n[forward]\nsecret_file = '{}'\n\
                 [archive]\nenabled = false\n",
                keys.display(),
                folder.join("forward.whsec").display()
            ),
        )?;
        let log = File::create(folder.join("log"))?;
        let mut command = Command::new(env!("CARGO_BIN_EXE_evolink-receiver"));
        command.args(["serve", "--config"]).arg(&config);
        command.stdin(Stdio::null()).stdout(log.try_clone()?);
        let begun = Instant::now();
        let mut child = command.stderr(log).spawn()?;
        while !is_ready(internal).await {
            if let Some(status) = child.try_wait()? {
                let log = std::fs::read_to_string(folder.join("log"))?;
                bail!("the receiver ended with {status}: {log}");
            }
            ensure!(begun.elapsed() < PATIENCE, "the receiver is not ready");
            sleep(POLL).await;
        }
        let ready_after = begun.elapsed();
        let ring = KeyRing::parse(&std::fs::read_to_string(keys)?)?;
        Ok(Self {
            child,
            public,
            token: ring.mint(&Subject::Standing("client-1".parse()?)),
            ready_after,
        })
    }

    pub fn callback_path(&self) -> String {
        format!("/callbacks/{}", self.token)
    }

    /// Returns the processor time of all its threads, in user and system mode.
    pub fn cpu_time(&self) -> anyhow::Result<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // The second field is a name in parentheses, which may contain anything.
        let (_, fields) = stat.rsplit_once(") ").context("no name in stat")?;
        let mut ticks = 0;
        for field in fields.split(' ').skip(11).take(2) {
            ticks += field.parse::<u32>()?;
        }
        Ok(TICK * ticks)
    }

    pub async fn stop(mut self) -> anyhow::Result<()> {
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        let asked = Instant::now();
        while self.child.try_wait()?.is_none() {
            ensure!(asked.elapsed() < PATIENCE, "the receiver does not end");
            sleep(POLL).await;
        }
        Ok(())
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn is_ready(internal: SocketAddr) -> bool {
    let asking = async {
        let mut stream = TcpStream::connect(internal).await?;
        let request = "GET /readyz HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        std::io::Result::Ok(answer)
    };
    asking
        .await
        .is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
}

fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}
