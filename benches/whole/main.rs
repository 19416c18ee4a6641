//! Measures the whole program under load, and what it is compared with:
//! `cargo bench --bench whole`. `benches/README.md` has the comparisons, the method and the
//! results.
//!
//! Reading order: `comparisons` defines what runs against what, and `trial` how one case is run.
//! `load` and `servers` are its two sides. `figures` and `report` turn the numbers into results.
#![expect(
    clippy::print_stdout,
    reason = "the results of a bench are read on the terminal"
)]

mod comparisons;
mod consumers;
mod half_load;
mod postgres;
mod qhook;
mod versions;

mod trial;

// The requests, and how they are sent.
mod callback;
mod connection;
mod load;

// The programs that it is sent to.
mod baselines;
mod check;
#[path = "../cluster/mod.rs"]
mod cluster;
mod cpus;
mod database;
mod disk;
mod fill;
mod network;
mod process;
mod servers;
mod targets;
mod writes;

// The results.
mod facts;
mod figures;
mod numbers;
mod report;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::bail;
use clap::{Parser, Subcommand, ValueEnum};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

use facts::Facts;
use figures::{Findings, Rounds};
use report::{Report, Section};
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
    /// One short round, for a first impression; writes no table
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
    /// Another build of the program; only these two builds are compared, and no table is written
    #[arg(long)]
    before: Option<PathBuf>,
    /// Passed by `cargo bench`, and by no other command of cargo
    #[arg(long, hide = true)]
    bench: bool,
    /// Set when this runs in a network of its own.
    #[arg(long, hide = true)]
    inside: bool,
    #[command(subcommand)]
    role: Option<Role>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, ValueEnum)]
enum Comparison {
    Durable,
    Disks,
    Handshakes,
    Steady,
    Duplicates,
    Guesses,
    Reads,
    Postgres,
    HalfLoad,
    Qhook,
    Latency,
    Crowd,
    Endpoints,
    Standing,
}

/// The roles of this program when it starts itself.
#[derive(Debug, Subcommand)]
#[command(hide = true)]
enum Role {
    /// A baseline that the receiver is compared with.
    Baseline {
        listen: SocketAddr,
        folder: PathBuf,
        #[arg(long)]
        store: Option<String>,
    },
    /// Measures how long a sync takes.
    Probe { folder: PathBuf },
    /// Measures how long a commit of this many tasks takes.
    Commits { folder: PathBuf, tasks: i64 },
}

/// The settings that all comparisons share.
pub struct Bench {
    pub rounds: usize,
    /// Tasks in a round whose outcomes consumers get.
    pub tasks: usize,
    pub setting: Setting,
    pub has_own_network: bool,
}

impl Bench {
    pub async fn alternate(&self, cases: Vec<Case>) -> anyhow::Result<Rounds> {
        Rounds::run(cases, self.rounds, &self.setting).await
    }
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if let Some(role) = arguments.role {
        return play(role);
    }
    if !arguments.bench {
        eprintln!("takes minutes and is no test: cargo bench --bench whole");
        return Ok(());
    }
    let wants_qhook = arguments.only.is_empty() || arguments.only.contains(&Comparison::Qhook);
    if !arguments.inside && wants_qhook && arguments.before.is_none() {
        qhook::install()?;
    }
    if !arguments.inside && network::can_be_own() {
        bail!(network::run_in_own());
    }
    disk::prepare()?;
    if let Some(cpus) = &arguments.client_cpus {
        cpus::keep_to(cpus)?;
    }
    // The servers inherit the processors of the load.
    Runtime::new()?.block_on(async {
        // Handle signals, so that an interrupted bench leaves no server and no gigabytes behind:
        // both are removed when their owners are dropped.
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        tokio::select! {
            done = run_all(&arguments) => done,
            _ = terminate.recv() => bail!("terminated"),
            _ = interrupt.recv() => bail!("interrupted"),
        }
    })
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
        Role::Commits { folder, tasks } => {
            let p99 = Runtime::new()?.block_on(half_load::time_commits(&folder, tasks))?;
            println!("{}", serde_json::to_string(&p99)?);
            Ok(())
        }
    }
}

async fn run_all(arguments: &Arguments) -> anyhow::Result<()> {
    let seconds = Duration::from_secs(if arguments.quick {
        2
    } else {
        arguments.seconds
    });
    let bench = Bench {
        rounds: if arguments.quick { 1 } else { arguments.rounds },
        tasks: if arguments.quick { 1000 } else { 10_000 },
        setting: Setting {
            warm_up: Duration::from_secs(if arguments.quick { 1 } else { 2 }),
            window: seconds,
            server_cpus: server_cpus(arguments),
        },
        has_own_network: arguments.inside,
    };
    if let Some(before) = &arguments.before {
        return versions::compare(before, &bench).await;
    }
    let all = Comparison::value_variants();
    let chosen = if arguments.only.is_empty() {
        all
    } else {
        &arguments.only
    };
    for &comparison in chosen {
        let name = name_of(comparison);
        eprintln!("{name}");
        let facts = Facts::gather(&bench)?;
        let findings = compare(comparison, &bench).await?;
        let report = Report {
            name,
            facts,
            findings,
        };
        println!("\n{}", report::lines(&report.findings));
        if !arguments.quick {
            report.save()?;
        }
    }
    if !arguments.quick {
        for section in sections() {
            let is_new = |name: &String| chosen.iter().any(|made| name_of(*made) == *name);
            if section.comparisons.iter().any(is_new) {
                report::write_readme(&section)?;
            }
        }
    }
    Ok(())
}

/// Returns the sections of `benches/README.md`. Consumers have their own.
fn sections() -> [Section; 2] {
    let (consumers, others): (Vec<Comparison>, _) = Comparison::value_variants()
        .iter()
        .partition(|one| **one >= Comparison::Latency);
    let names = |some: Vec<Comparison>| some.into_iter().map(name_of).collect();
    [("results", "##", others), ("consumers", "###", consumers)].map(|(name, level, some)| {
        Section {
            name,
            level,
            comparisons: names(some),
        }
    })
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
        Comparison::Postgres => postgres::postgres(bench).await,
        Comparison::HalfLoad => half_load::half_load(bench).await,
        Comparison::Qhook => qhook::qhook(bench).await,
        Comparison::Latency => consumers::latency(bench).await,
        Comparison::Crowd => consumers::crowd(bench).await,
        Comparison::Endpoints => consumers::endpoints(bench).await,
        Comparison::Standing => consumers::standing(bench).await,
    }
}

fn name_of(comparison: Comparison) -> String {
    let value = comparison.to_possible_value();
    value.expect("none is hidden").get_name().to_owned()
}

/// Returns all processors if only the load is kept on some.
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
