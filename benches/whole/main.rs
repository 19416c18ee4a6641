//! The program as a whole under load, beside what it is compared with: `cargo bench --bench whole`. What is compared, how,
//! and the results: `benches/README.md`.
//!
//! Reading order: `comparisons` says what runs against what, `trial` how one of them is run, `load` and `servers` are the
//! two sides of it, `figures` and `report` what is made of the numbers.
#![expect(
    clippy::print_stdout,
    reason = "the results of a bench are read on the terminal"
)]

mod comparisons;

mod trial;

// What is sent, and how.
mod callback;
mod connection;
mod load;

// What it is sent to.
mod baselines;
mod check;
mod cpus;
mod disk;
mod process;
mod servers;
mod writes;

// What comes of it.
mod figures;
mod report;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::Context as _;
use clap::{Parser, Subcommand, ValueEnum};
use tokio::runtime::Runtime;

use disk::Disk;
use evolink_receiver::clock::Clock;
use figures::{Findings, Rounds};
use report::{Facts, Report};
use trial::{Case, Setting};

/// Runs the receiver and what it is compared with alternately, under load.
#[derive(Debug, Parser)]
#[command(name = "cargo bench --bench whole --")]
struct Arguments {
    /// How often each comparison is made
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// How long each part of a round is measured, after a warm-up
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// One short round, for a first look; writes no table
    #[arg(long)]
    quick: bool,
    /// Only these comparisons
    #[arg(long, value_enum)]
    only: Vec<Comparison>,
    /// Processors for the programs under test, such as 0,1
    #[arg(long)]
    server_cpus: Option<String>,
    /// Processors for the load, such as 2,3
    #[arg(long)]
    client_cpus: Option<String>,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
    /// Set once this runs in a network of its own.
    #[arg(long, hide = true)]
    inside: bool,
    #[command(subcommand)]
    role: Option<Role>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Comparison {
    Durable,
    Disks,
    Handshakes,
    Steady,
    Duplicates,
    Guesses,
    Reads,
}

/// What this program is when it starts itself.
#[derive(Debug, Subcommand)]
#[command(hide = true)]
enum Role {
    /// What the receiver is compared with.
    Baseline {
        listen: SocketAddr,
        folder: PathBuf,
        #[arg(long)]
        store: Option<String>,
    },
    /// Measures how long a sync takes.
    Probe { folder: PathBuf },
}

/// What every comparison works with.
pub struct Bench {
    rounds: usize,
    setting: Setting,
}

impl Bench {
    pub async fn alternate(&self, cases: Vec<Case>) -> anyhow::Result<Rounds> {
        Rounds::run(cases, self.rounds, &self.setting).await
    }
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    if let Some(role) = arguments.role {
        play(role)?;
        return Ok(ExitCode::SUCCESS);
    }
    if !arguments.inside && can_have_own_network() {
        return run_in_own_network();
    }
    disk::prepare()?;
    if let Some(cpus) = &arguments.client_cpus {
        cpus::keep_to(cpus)?;
    }
    // The servers inherit what the load is kept to.
    Runtime::new()?.block_on(run_all(&arguments))?;
    Ok(ExitCode::SUCCESS)
}

fn play(role: Role) -> anyhow::Result<()> {
    match role {
        Role::Baseline {
            listen,
            folder,
            store,
        } => Runtime::new()?.block_on(baselines::serve(listen, &folder, store.as_deref())),
        Role::Probe { folder } => {
            let probe = disk::run_probe(&folder)?;
            println!("{}", serde_json::to_string(&probe)?);
            Ok(())
        }
    }
}

/// Where this may be had, nothing of the outside reaches a program under test, and no port is taken.
fn can_have_own_network() -> bool {
    let mut unshare = Command::new("unshare");
    let tried = unshare.args(["--net", "ip", "link", "set", "lo", "up"]);
    tried.output().is_ok_and(|output| output.status.success())
}

fn run_in_own_network() -> anyhow::Result<ExitCode> {
    let mut unshare = Command::new("unshare");
    unshare.args([
        "--net",
        "sh",
        "-c",
        "ip link set lo up && exec \"$@\"",
        "sh",
    ]);
    unshare.arg(std::env::current_exe()?);
    unshare.args(std::env::args_os().skip(1)).arg("--inside");
    let status = unshare.status()?;
    Ok(match status.code() {
        Some(0) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

async fn run_all(arguments: &Arguments) -> anyhow::Result<()> {
    let seconds = Duration::from_secs(if arguments.quick {
        2
    } else {
        arguments.seconds
    });
    let bench = Bench {
        rounds: if arguments.quick { 1 } else { arguments.rounds },
        setting: Setting {
            warm_up: Duration::from_secs(if arguments.quick { 1 } else { 2 }),
            window: seconds,
            server_cpus: server_cpus(arguments),
        },
    };
    let all = Comparison::value_variants();
    let chosen = if arguments.only.is_empty() {
        all
    } else {
        &arguments.only
    };
    for &comparison in chosen {
        let name = name_of(comparison);
        eprintln!("{name}");
        let facts = facts(&bench)?;
        let findings = compare(comparison, &bench).await?;
        let report = Report {
            name,
            facts,
            findings,
        };
        println!("\n{}", report.goal_lines());
        if !arguments.quick {
            report.save()?;
        }
    }
    if !arguments.quick {
        let names: Vec<String> = all.iter().copied().map(name_of).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        report::write_readme(&names)?;
    }
    Ok(())
}

async fn compare(comparison: Comparison, bench: &Bench) -> anyhow::Result<Findings> {
    match comparison {
        Comparison::Durable => comparisons::durable(bench).await,
        Comparison::Disks => comparisons::disks(bench).await,
        Comparison::Handshakes => comparisons::handshakes(bench).await,
        Comparison::Steady => comparisons::steady(bench).await,
        Comparison::Duplicates => comparisons::duplicates(bench).await,
        Comparison::Guesses => comparisons::guesses(bench).await,
        Comparison::Reads => comparisons::reads(bench).await,
    }
}

fn name_of(comparison: Comparison) -> String {
    let value = comparison.to_possible_value();
    value.expect("none is hidden").get_name().to_owned()
}

/// All processors, if only the load is kept to some.
fn server_cpus(arguments: &Arguments) -> Option<String> {
    let all = || {
        let online = std::fs::read_to_string("/sys/devices/system/cpu/online").ok()?;
        Some(online.trim().to_owned())
    };
    match (&arguments.server_cpus, &arguments.client_cpus) {
        (Some(cpus), _) => Some(cpus.clone()),
        (None, Some(_)) => all(),
        (None, None) => None,
    }
}

fn facts(bench: &Bench) -> anyhow::Result<Facts> {
    let mut syncs = Vec::new();
    for disk in [Disk::Real, Disk::FAST, Disk::MIDDLING, Disk::CLOUD] {
        let (median, p99) = disk.probe()?;
        syncs.push((disk.to_string(), median, p99));
    }
    let words = std::env::args().skip(1);
    let own: Vec<String> = words
        .filter(|word| word != "--bench" && word != "--inside")
        .collect();
    let mut command = "cargo bench --bench whole".to_owned();
    if !own.is_empty() {
        command = format!("{command} -- {}", own.join(" "));
    }
    let date = Clock::System.now().to_string();
    Ok(Facts {
        machine: machine()?,
        command,
        commit: env!("EVOLINK_RECEIVER_COMMIT").to_owned(),
        date: date.get(..10).unwrap_or(&date).to_owned(),
        rounds: bench.rounds,
        window: bench.setting.window,
        syncs,
    })
}

fn machine() -> anyhow::Result<String> {
    let cores = std::thread::available_parallelism()?;
    let about = std::fs::read_to_string("/proc/cpuinfo")?;
    let model = about
        .lines()
        .find_map(|line| line.strip_prefix("model name"));
    let model = model.map_or("CPU unknown", |rest| {
        rest.trim_start_matches([' ', '\t', ':'])
    });
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").context("no kernel")?;
    Ok(format!("{cores} cores, {model}, Linux {}", kernel.trim()))
}
